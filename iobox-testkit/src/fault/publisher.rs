//! A publisher whose messages get lost, come twice, or are not heard of.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use tokio::time::sleep;

use super::{
    CrashPoint, Fault,
    plan::{Life, lost},
};

/// A publisher that fails as its [`Faults`](super::Faults) say; each message meets its own.
#[derive(Debug, Clone)]
pub struct FaultyPublisher<P> {
    inner: P,
    life: Life,
}

/// A message of a batch, by its index.
type Indexed = (usize, Message);
/// What became of it.
type Outcome = (usize, Result<Receipt, PublishError>);

impl<P> FaultyPublisher<P> {
    pub(super) const fn new(inner: P, life: Life) -> Self {
        Self { inner, life }
    }

    /// What is inside.
    pub const fn inner(&self) -> &P {
        &self.inner
    }
}

impl<P: Publisher> FaultyPublisher<P> {
    /// Publishes messages, and returns what the broker said of them.
    async fn send(&self, messages: &[Indexed]) -> Vec<Outcome> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let indexes: Vec<usize> = messages.iter().map(|(index, _)| *index).collect();
        let batch: Vec<Message> = messages
            .iter()
            .map(|(_, message)| message.clone())
            .collect();
        let sink = Arc::clone(&said);
        let mut outcomes = Outcomes::new(batch.len(), move |at, outcome| {
            let mut said = sink.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(indexes.get(at).map(|index| (*index, outcome)));
        });
        if !batch.is_empty() {
            self.inner.publish(&batch, &mut outcomes).await;
        }
        drop(outcomes);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *said)
    }

    /// Sends a batch, each message with its fault, and returns what the relay hears.
    async fn send_with_faults(&self, batch: &[Message]) -> Vec<Outcome> {
        let (mut sent, mut twice, mut silent, mut heard) = (vec![], vec![], vec![], vec![]);
        for (index, message) in batch.iter().cloned().enumerate() {
            match self.life.draw() {
                Some(Fault::Before) => {
                    let reason = String::from("the message was not sent");
                    heard.push((index, Err(PublishError::Unavailable(reason))));
                    continue;
                }
                Some(Fault::After) => silent.push(index),
                Some(Fault::Twice) => twice.push((index, message.clone())),
                Some(Fault::Delay(by)) => sleep(by).await,
                Some(Fault::Reorder) => {
                    sent.insert(0, (index, message));
                    continue;
                }
                None => {}
            }
            sent.push((index, message));
        }
        if self.life.dies_at(CrashPoint::HalfSent) && sent.len() > 1 {
            sent.truncate(sent.len() / 2);
            self.send(&sent).await;
            self.life.reach(CrashPoint::HalfSent).await;
        }
        let said = self.send(&sent).await;
        self.send(&twice).await;
        self.life.reach(CrashPoint::Sent).await;
        heard.extend(said.into_iter().map(|(index, outcome)| {
            if silent.contains(&index) {
                let reason = String::from("the ack of the message is lost");
                return (index, Err(PublishError::Unknown(reason)));
            }
            (index, outcome)
        }));
        heard
    }
}

#[async_trait]
impl<P: Publisher> Publisher for FaultyPublisher<P> {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        self.life.go_on().await;
        if self.life.is_cut() {
            for index in 0..batch.len() {
                let reason = String::from("the line is cut: the message was not sent");
                outcomes.report(index, Err(PublishError::Unavailable(reason)));
            }
            return;
        }
        let heard = tokio::select! {
            biased;
            heard = self.send_with_faults(batch) => heard,
            () = self.life.cut() => return outcomes.close("the line was cut: the acks are lost"),
        };
        self.life.go_on().await;
        for (index, outcome) in heard {
            outcomes.report(index, outcome);
        }
    }

    async fn probe(&self) -> Result<Durability> {
        self.life.go_on().await;
        if self.life.is_cut() {
            return Err(lost("the line is cut: the probe was not sent"));
        }
        self.inner.probe().await
    }
}
