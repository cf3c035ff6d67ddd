//! The clock of the in-memory store, which stands for the clock of a database.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The clock of a [`MemoryStore`](super::MemoryStore); clones are the same clock.
///
/// It follows tokio's clock, so that it stands still under `tokio::time::pause`, and can be shifted
/// as a database's clock may jump.
#[derive(Debug, Clone)]
pub struct MemoryClock {
    start: Instant,
    base: Duration,
    shift: Arc<Mutex<Duration>>,
}

impl MemoryClock {
    /// A clock that starts at `base` after the Unix epoch.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "a database has a clock of its own; this stands for it"
    )]
    pub fn starting_at(base: Duration) -> Self {
        Self {
            start: Instant::now(),
            base,
            shift: Arc::default(),
        }
    }

    /// A clock that shows the time of day.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "a database has a clock of its own; this stands for it"
    )]
    pub fn system() -> Self {
        Self::starting_at(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// Puts the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.shift.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// A clock that shows the same, and is put forward apart from this one.
    #[cfg(iobox_bugs)]
    pub(super) fn fork(&self) -> Self {
        let shift = *self.shift.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            shift: Arc::new(Mutex::new(shift)),
            ..self.clone()
        }
    }

    /// The time since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.base
            + self.start.elapsed()
            + *self.shift.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
