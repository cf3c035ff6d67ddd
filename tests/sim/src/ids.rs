//! Ids drawn from the seed.

use std::sync::Mutex;

use iobox_core::message::IdSource;

/// An [`IdSource`] of a seed.
#[derive(Debug)]
pub(crate) struct SeededIds(Mutex<fastrand::Rng>);

impl SeededIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }
}

impl IdSource for SeededIds {
    fn draw(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0.lock().expect("no panic holds the lock").u128(..))
    }
}
