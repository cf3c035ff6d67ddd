//! The publisher: appends to the log, and does wrong what it is told to.

use std::{
    future::pending,
    process,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use iobox::{
    Error,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use tokio::time::sleep;

use super::cli::Faults;
use crate::{log::Log, say};

/// A broker that is a file.
#[derive(Debug)]
pub(crate) struct LogPublisher {
    log: Log,
    faults: Faults,
    accepted: AtomicUsize,
    holds: AtomicBool,
}

impl LogPublisher {
    pub(crate) const fn new(log: Log, faults: Faults) -> Self {
        Self {
            log,
            faults,
            accepted: AtomicUsize::new(0),
            holds: AtomicBool::new(false),
        }
    }

    fn is_unavailable(&self) -> bool {
        let flag = self.faults.unavailable_while.as_ref();
        flag.is_some_and(|flag| flag.exists())
    }

    fn is_slow(&self, message: &Message) -> bool {
        let slow = self.faults.slow_key.as_ref();
        slow.is_some_and(|(slow, _)| message.key().is_some_and(|key| key.as_str() == slow))
    }

    /// Takes those messages of a batch, and reports them.
    fn accept(&self, batch: &[Message], indexes: &[usize], outcomes: &mut Outcomes) {
        if self.is_unavailable() {
            for index in indexes {
                let error = PublishError::Unavailable("the flag file is there".to_owned());
                outcomes.report(*index, Err(error));
            }
            return;
        }
        let is_killer = |message: &Message| {
            let killer = self.faults.killer.as_deref();
            killer.is_some_and(|killer| message.id().as_str() == killer)
        };
        let is_rejected = |index: &usize| {
            let id = batch[*index].id().as_str();
            self.faults.reject.iter().any(|rejected| rejected == id)
        };
        if let Some(at) = indexes.iter().position(|index| is_killer(&batch[*index])) {
            // Those before it were sent; it takes along that nobody will tell.
            self.append(batch, &indexes[..at]);
            process::abort();
        }
        let (rejected, accepted): (Vec<usize>, Vec<usize>) =
            indexes.iter().copied().partition(is_rejected);
        self.append(batch, &accepted);
        for index in accepted {
            outcomes.report(index, Ok(Receipt::new()));
        }
        for index in rejected {
            let error = PublishError::Permanent("it is on the list".to_owned());
            outcomes.report(index, Err(error));
        }
    }

    /// Appends messages, or ends the process: a log that is not complete proves nothing.
    fn append(&self, batch: &[Message], indexes: &[usize]) {
        if indexes.is_empty() {
            return;
        }
        let messages = indexes.iter().map(|index| &batch[*index]);
        if let Err(error) = self.log.append(messages) {
            eprintln!("{error:#}");
            process::abort();
        }
        self.accepted.fetch_add(indexes.len(), Ordering::Relaxed);
    }

    /// Whether everything from now on is to be held.
    fn must_hold(&self) -> bool {
        let accepted = self.accepted.load(Ordering::Relaxed);
        self.faults
            .hold_after
            .is_some_and(|after| accepted >= after)
    }
}

#[async_trait]
impl Publisher for LogPublisher {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let all: Vec<usize> = (0..batch.len()).collect();
        if self.must_hold() {
            if !self.holds.swap(true, Ordering::Relaxed) {
                self.append(batch, &all);
                say(&format!("SENT {}", batch.len()));
            }
            return pending().await;
        }
        if let Some(millis) = self.faults.report_before_append {
            for index in &all {
                outcomes.report(*index, Ok(Receipt::new()));
            }
            say(&format!("REPORTED {}", batch.len()));
            sleep(Duration::from_millis(millis)).await;
            return self.append(batch, &all);
        }
        if self.faults.delay > 0 {
            sleep(Duration::from_millis(self.faults.delay)).await;
        }
        let (slow, fast): (Vec<usize>, Vec<usize>) =
            all.iter().partition(|index| self.is_slow(&batch[**index]));
        self.accept(batch, &fast, outcomes);
        if let (Some((_, millis)), false) = (&self.faults.slow_key, slow.is_empty()) {
            sleep(Duration::from_millis(*millis)).await;
            self.accept(batch, &slow, outcomes);
        }
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        if self.is_unavailable() {
            return Err(Error::unavailable("the flag file is there"));
        }
        Ok(Durability::PageCache)
    }
}
