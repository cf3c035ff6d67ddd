//! Outcomes of a batch, recorded as they arrive.

use std::sync::{Arc, Mutex, PoisonError};

use iobox_core::{
    message::Message,
    publisher::{Outcomes, PublishError, Publisher, Receipt},
};
use tokio::{sync::watch, time::timeout};

use super::PATIENCE;

/// What a publisher said of one message.
pub type Outcome = Result<Receipt, PublishError>;

/// The outcomes of one batch so far. Clones are the same record.
#[derive(Debug, Clone)]
pub struct Record {
    outcomes: Arc<Mutex<Vec<Option<Outcome>>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Record {
    /// An empty record of a batch of `count` messages, and what a publisher reports into.
    #[must_use]
    pub fn new(count: usize) -> (Self, Outcomes) {
        let record = Self {
            outcomes: Arc::new(Mutex::new(vec![None; count])),
            count: Arc::new(watch::Sender::new(0)),
        };
        let sink = record.clone();
        let outcomes = Outcomes::new(count, move |index, outcome| sink.take(index, outcome));
        (record, outcomes)
    }

    fn take(&self, index: usize, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = outcomes[index].replace(outcome);
        assert!(earlier.is_none(), "message {index} got two outcomes");
        drop(outcomes);
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits until `count` outcomes have arrived.
    ///
    /// # Panics
    /// When they do not.
    pub async fn arrived(&self, count: usize) {
        let mut counter = self.count.subscribe();
        let arrived = timeout(PATIENCE, counter.wait_for(|so_far| *so_far >= count)).await;
        assert!(arrived.is_ok(), "{count} outcomes do not arrive: {self:?}");
    }

    /// The outcomes so far, by index.
    #[must_use]
    pub fn so_far(&self) -> Vec<Option<Outcome>> {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.clone()
    }

    /// The outcome of every message, by index.
    ///
    /// # Panics
    /// When one has none.
    #[must_use]
    pub fn all(&self) -> Vec<Outcome> {
        let outcomes = self.so_far().into_iter();
        outcomes
            .map(|outcome| outcome.expect("every message gets an outcome"))
            .collect()
    }
}

/// Publishes a batch and returns the outcome of each message, those that the publisher did not
/// report included.
///
/// # Panics
/// When the publisher does not return.
pub async fn publish<P: Publisher + ?Sized>(publisher: &P, batch: &[Message]) -> Vec<Outcome> {
    let (record, mut outcomes) = Record::new(batch.len());
    let returned = timeout(PATIENCE, publisher.publish(batch, &mut outcomes)).await;
    assert!(returned.is_ok(), "publish does not return: {outcomes:?}");
    drop(outcomes);
    record.all()
}

/// Publishes one message and returns its outcome.
///
/// # Panics
/// When the publisher does not return.
pub async fn publish_one<P: Publisher + ?Sized>(publisher: &P, message: &Message) -> Outcome {
    publish(publisher, std::slice::from_ref(message))
        .await
        .remove(0)
}

/// Publishes a batch of which every message must be taken as new.
///
/// # Panics
/// When one is not.
pub async fn publish_all<P: Publisher + ?Sized>(publisher: &P, batch: &[Message]) {
    all_new(&publish(publisher, batch).await);
}

/// Checks that every message was taken as new.
///
/// # Panics
/// When one was not.
pub fn all_new(outcomes: &[Outcome]) {
    for (index, outcome) in outcomes.iter().enumerate() {
        assert_eq!(*outcome, Ok(Receipt::new()), "message {index}");
    }
}

/// Whether a message was definitely not sent.
#[must_use]
pub const fn is_unavailable(outcome: &Outcome) -> bool {
    matches!(outcome, Err(PublishError::Unavailable(_)))
}

/// Whether nobody knows what became of a message.
#[must_use]
pub const fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Err(PublishError::Unknown(_)))
}
