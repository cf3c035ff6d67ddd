//! The batch: what a reader brings at once.

use super::Position;
use crate::inbox::Delivery;

/// What a reader brought.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Batch {
    /// The arrivals, in the order of the stream.
    pub deliveries: Vec<Delivery>,
    /// How far the stream is read once these are stored. `None` when nothing was read, and always for
    /// a source without an order.
    pub position: Option<Position>,
    /// Arrivals that can never be stored. The broker is told so; they are counted and logged.
    pub refused: Vec<Refused>,
    /// How many entries the stream had removed before they were read, as far as the source can tell.
    pub lost: u64,
    /// How many entries the stream holds behind these, if the source can tell.
    pub behind: Option<u64>,
}

impl Batch {
    /// Whether it says nothing that must be stored or acked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.refused.is_empty() && self.position.is_none()
    }
}

/// An arrival that can never be stored: it is no message, or breaks a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the stream, for the person who looks it up there.
    pub place: String,
    /// Which bound it breaks; never its content.
    pub reason: String,
}
