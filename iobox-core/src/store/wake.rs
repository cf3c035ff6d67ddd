//! Waking: how a sleeping instance learns of work that another process wrote.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Result, queue::Queue};

/// A hint of the database that there may be work. Polling is always enough; this is faster.
#[async_trait]
pub trait WakeUp: Send + Sync + fmt::Debug {
    /// Announces that the caller is about to sleep.
    ///
    /// The caller looks for work once more after this returns, since what was committed before it
    /// wakes nobody.
    async fn arm(&self, queue: &Queue) -> Result<Box<dyn Armed>>;
}

/// A sleep that was announced. Dropping it takes the announcement back.
#[async_trait]
pub trait Armed: Send + fmt::Debug {
    /// How long the caller may sleep before it must look for itself.
    fn at_most(&self) -> Duration;

    /// Returns when there may be work, or when the hint can no longer be trusted. Safe to drop.
    async fn wait(&mut self);

    /// Takes the announcement back before the caller goes on working.
    async fn disarm(self: Box<Self>);
}
