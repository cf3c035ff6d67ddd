//! The start: where a reader begins, and how much it may bring at once.

use std::time::Duration;

use super::Position;
use crate::{message::Limits, store::Epoch};

/// Where and as what a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Start {
    /// What is stored already; `None` when nothing of the source ever was.
    pub position: Option<Position>,
    /// The epoch of the right to read. It grows with every instance that takes over; 0 for a source
    /// without an order.
    pub epoch: Epoch,
    /// Which opening under this epoch it is, from 1. No two readers have the same epoch and opening,
    /// but for a source without an order.
    pub opening: u32,
    /// What the store takes: an arrival beyond it is [refused](super::Refused).
    pub limits: Limits,
}

impl Start {
    /// A start behind `position`.
    #[must_use]
    pub const fn new(
        position: Option<Position>,
        epoch: Epoch,
        opening: u32,
        limits: Limits,
    ) -> Self {
        Self {
            position,
            epoch,
            opening,
            limits,
        }
    }
}

/// How much a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most arrivals, at least 1.
    pub messages: usize,
    /// The most bytes of messages.
    pub bytes: usize,
    /// How long to wait for the first.
    pub wait: Duration,
}
