//! The publisher: a broker that answers at once, except for one key.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use iobox::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use tokio::{sync::Notify, time::sleep};

/// The key that is treated in another way.
pub(crate) const ODD_KEY: &str = "odd";

/// What happens to messages of the odd key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// They are taken like others.
    Taken,
    /// They are refused for good.
    Dead,
    /// They are refused for now, each time.
    Refused,
    /// They are taken, after so long.
    Slow(Duration),
}

/// Counts messages and takes them.
#[derive(Debug)]
pub(crate) struct Counter {
    odd: Odd,
    target: usize,
    count: AtomicUsize,
    odd_count: AtomicUsize,
    full: Notify,
    full_at: OnceLock<Instant>,
}

impl Counter {
    /// Expects `target` messages that are not of the odd key.
    pub(crate) fn new(target: usize, odd: Odd) -> Self {
        Self {
            odd,
            target,
            count: AtomicUsize::new(0),
            odd_count: AtomicUsize::new(0),
            full: Notify::new(),
            full_at: OnceLock::new(),
        }
    }

    /// Waits for the last of the expected messages. Safe to drop.
    pub(crate) async fn full(&self) {
        self.full.notified().await;
    }

    /// When the last of the expected messages came.
    pub(crate) fn full_at(&self) -> Option<Instant> {
        self.full_at.get().copied()
    }

    /// How many messages of the odd key came, every try counted.
    pub(crate) fn odd_count(&self) -> usize {
        self.odd_count.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Publisher for Counter {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let is_odd = |message: &Message| message.key().is_some_and(|key| key.as_str() == ODD_KEY);
        let mut plain = 0;
        let mut odd = Vec::new();
        for (index, message) in batch.iter().enumerate() {
            if self.odd != Odd::Taken && is_odd(message) {
                odd.push(index);
            } else {
                plain += 1;
                outcomes.report(index, Ok(Receipt::new()));
            }
        }
        let before = self.count.fetch_add(plain, Ordering::Relaxed);
        if before < self.target && before + plain >= self.target {
            self.full_at.get_or_init(Instant::now);
            self.full.notify_one();
        }
        self.odd_count.fetch_add(odd.len(), Ordering::Relaxed);
        if let (Odd::Slow(pause), false) = (self.odd, odd.is_empty()) {
            sleep(pause).await;
        }
        for index in odd {
            let refusal = || String::from("this key is refused");
            outcomes.report(
                index,
                match self.odd {
                    Odd::Taken | Odd::Slow(_) => Ok(Receipt::new()),
                    Odd::Dead => Err(PublishError::Permanent(refusal())),
                    Odd::Refused => Err(PublishError::Transient(refusal())),
                },
            );
        }
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Volatile)
    }
}
