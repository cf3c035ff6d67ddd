//! The partition: a fixed slice of a queue that keeps all messages of a key together.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Error, Result, message::Message};

/// One slice of a queue, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The partition with this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions a queue has: a power of two, 1 to 256, fixed when its tables are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u16);

impl Partitions {
    /// The default: 16.
    pub const DEFAULT: Self = Self(16);

    /// Checks `count`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is not a power of two in 1 to 256.
    pub fn new(count: u16) -> Result<Self> {
        if count.is_power_of_two() && count <= 256 {
            Ok(Self(count))
        } else {
            Err(Error::invalid(format!(
                "partitions is {count}; it needs a power of two from 1 to 256"
            )))
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.0
    }

    /// All of them in order.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..=u8::MAX).take(usize::from(self.0)).map(Partition)
    }

    /// The partition of a text: the first byte of its SHA-256, modulo the count.
    ///
    /// The same in Rust and in SQL: `get_byte(sha256(convert_to(text, 'UTF8')), 0) % count`.
    #[must_use]
    pub fn of(self, text: &str) -> Partition {
        let first = Sha256::digest(text.as_bytes())
            .first()
            .copied()
            .unwrap_or(0);
        // A count of 256 leaves the byte as it is; a smaller one is a mask of one byte.
        Partition(u8::try_from(self.0).map_or(first, |count| first % count))
    }

    /// The partition of a message: of its ordering key, or of its id when it has none.
    #[must_use]
    pub fn of_message(self, message: &Message) -> Partition {
        self.of(message
            .key()
            .map_or_else(|| message.id().as_str(), |key| key.as_str()))
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_up_to_256_are_taken() {
        for count in 0..=1_000 {
            let taken = Partitions::new(count).is_ok();
            assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64, 128, 256].contains(&count));
        }
    }

    #[test]
    fn the_hash_is_the_first_byte_of_sha256() {
        // printf 'account-1' | sha256sum starts with 0x1d.
        let expected = Sha256::digest(b"account-1")[0];
        assert_eq!(Partitions(256).of("account-1").number(), expected);
        assert_eq!(Partitions(16).of("account-1").number(), expected % 16);
        assert_eq!(Partitions(1).of("account-1").number(), 0);
        assert_eq!(Partitions(256).iter().count(), 256);
    }
}
