//! The delivery: one arrival of a message, and what became of it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    Error, Result,
    message::{Draft, Limits, Message, Origin, RandomIds},
};

/// One arrival of a message. The same message may arrive any number of times.
#[derive(Clone)]
pub struct Delivery {
    message: Message,
    occurred_at: Option<SystemTime>,
    age: Option<Duration>,
}

impl Delivery {
    /// A delivery of a message that an outbox wrote.
    #[must_use]
    pub const fn new(message: Message) -> Self {
        Self {
            message,
            occurred_at: None,
            age: None,
        }
    }

    /// A delivery of a message from a producer that has no origin; it is known by the source and the
    /// id of `draft`, which must have one.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the draft breaks a bound or has no id of its own.
    pub fn foreign(draft: &Draft) -> Result<Self> {
        let limits = Limits::new(Limits::PAYLOAD_MAX)?;
        let sealed = draft.seal(Origin::FOREIGN, limits, &RandomIds)?;
        if sealed.generated {
            return Err(Error::invalid(
                "the delivery has no id; give it the one that its producer gave it, so that a second \
                 arrival of it is known",
            ));
        }
        Ok(Self::new(sealed.message))
    }

    /// Sets when it happened, which is kept beside the time at which it was received. Nothing is
    /// ordered or removed by it.
    #[must_use]
    pub const fn occurred_at(mut self, at: SystemTime) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// Sets for how long it was in its stream when it was read.
    #[must_use]
    pub const fn aged(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// When it happened, if its producer said so.
    #[must_use]
    pub const fn event_time(&self) -> Option<SystemTime> {
        self.occurred_at
    }

    /// For how long it was in its stream when it was read, if its source said so.
    #[must_use]
    pub const fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Refuses a payload that is larger than the store takes.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the bound.
    pub fn check(&self, limits: Limits) -> Result<()> {
        let bytes = self.message.payload().len();
        if bytes > limits.payload_max() {
            return Err(Error::invalid(format!(
                "payload has {bytes} bytes; at most {} are allowed",
                limits.payload_max()
            )));
        }
        Ok(())
    }
}

impl From<Message> for Delivery {
    fn from(message: Message) -> Self {
        Self::new(message)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Received {
    /// The message is stored for this many handlers; none means that it is kept as unrouted.
    New {
        /// How many handlers will handle it.
        handlers: usize,
    },
    /// The message is stored already; nothing was written.
    Duplicate,
}

impl Received {
    /// Whether the message was stored already.
    #[must_use]
    pub const fn is_duplicate(self) -> bool {
        matches!(self, Self::Duplicate)
    }
}
