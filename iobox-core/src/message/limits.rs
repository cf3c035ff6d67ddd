//! The bounds of a message that a store may set.

use crate::{Error, Result};

/// How large a message may be, checked at enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    payload_max: usize,
}

impl Limits {
    /// The default of [`payload_max`](Self::payload_max): 256 KiB.
    pub const PAYLOAD_DEFAULT: usize = 256 * 1024;
    /// The largest [`payload_max`](Self::payload_max): 1 MiB, what NATS takes by default.
    pub const PAYLOAD_MAX: usize = 1024 * 1024;

    /// Limits with payloads of at most `payload_max` bytes.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is not in 1 to 1,048,576.
    pub fn new(payload_max: usize) -> Result<Self> {
        if payload_max == 0 || payload_max > Self::PAYLOAD_MAX {
            return Err(Error::invalid(format!(
                "payload_max is {payload_max} bytes; it needs 1 to {}",
                Self::PAYLOAD_MAX
            )));
        }
        Ok(Self { payload_max })
    }

    /// The largest payload, in bytes.
    #[must_use]
    pub const fn payload_max(&self) -> usize {
        self.payload_max
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_max: Self::PAYLOAD_DEFAULT,
        }
    }
}
