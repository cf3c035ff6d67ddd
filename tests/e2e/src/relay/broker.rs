//! The real brokers: what they confirm is logged, and a batch may be kept from being settled.

use std::{
    future::pending,
    process,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use iobox::{
    message::Message,
    publisher::{Durability, Outcomes, Publisher, Receipt},
};
use tokio::sync::mpsc;

use crate::{gauge::Gauge, log::Log, say};

/// Publishes by another publisher and logs each confirmation before the relay hears of it.
#[derive(Debug)]
pub(crate) struct BrokerPublisher<P> {
    inner: P,
    log: Log,
    gauge: Gauge,
    hold_after: Option<usize>,
    accepted: AtomicUsize,
    holds: AtomicBool,
}

impl<P: Publisher> BrokerPublisher<P> {
    pub(crate) const fn new(inner: P, log: Log, gauge: Gauge, hold_after: Option<usize>) -> Self {
        Self {
            inner,
            log,
            gauge,
            hold_after,
            accepted: AtomicUsize::new(0),
            holds: AtomicBool::new(false),
        }
    }

    /// Publishes, and hands `outcomes` what becomes of each message; without them nobody is told.
    /// Returns how many the broker has now.
    async fn send(&self, batch: &[Message], mut outcomes: Option<&mut Outcomes>) -> usize {
        let (told, mut heard) = mpsc::channel(batch.len().max(1));
        let mut inner = Outcomes::new(batch.len(), move |index, outcome| {
            // There is room for all; nobody listens any more only when this publish was dropped.
            let _ = told.try_send((index, outcome));
        });
        let mut publishing = Box::pin(async move {
            self.inner.publish(batch, &mut inner).await;
            // What has no outcome gets one now, and the channel ends.
            drop(inner);
        });
        let (mut sent, mut ended) = (0, false);
        loop {
            tokio::select! {
                biased;
                next = heard.recv() => {
                    let Some((index, outcome)) = next else { return sent };
                    if let Ok(receipt) = &outcome {
                        self.record(&batch[index], receipt);
                        sent += 1;
                    }
                    if let Some(outcomes) = &mut outcomes {
                        outcomes.report(index, outcome);
                    }
                }
                () = &mut publishing, if !ended => ended = true,
            }
        }
    }

    /// Logs a confirmation, or ends the process: a log that is not complete proves nothing.
    fn record(&self, message: &Message, receipt: &Receipt) {
        let logged = if receipt.duplicate {
            self.log.append_duplicate(message)
        } else {
            self.log.append([message].into_iter())
        };
        if let Err(error) = logged {
            eprintln!("{error:#}");
            process::abort();
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether everything from now on is to be held.
    fn must_hold(&self) -> bool {
        let accepted = self.accepted.load(Ordering::Relaxed);
        self.hold_after.is_some_and(|after| accepted >= after)
    }
}

#[async_trait]
impl<P: Publisher> Publisher for BrokerPublisher<P> {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let _held = self.gauge.hold(batch.len());
        if !self.must_hold() {
            self.send(batch, Some(outcomes)).await;
            return;
        }
        if !self.holds.swap(true, Ordering::Relaxed) {
            let sent = self.send(batch, None).await;
            say(&format!("SENT {sent}"));
        }
        pending().await
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        self.inner.probe().await
    }
}
