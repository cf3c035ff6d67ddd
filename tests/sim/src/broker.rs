//! The fault gate in front of the broker: lost acks, late copies, refusals, messages with a script.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error,
    memory::MemoryBroker,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use tokio::time::sleep;

use crate::{
    history::{Event, History, Lane, Process, Reply},
    life::Life,
    plan::Script,
    point::Point,
};

/// What each message does to the broker.
pub(crate) type Scripts = Arc<Mutex<BTreeMap<String, Script>>>;

/// The broker as one process sees it.
#[derive(Debug, Clone)]
pub(crate) struct GatedPublisher {
    pub(crate) inner: MemoryBroker,
    pub(crate) life: Life,
    pub(crate) history: History,
    pub(crate) scripts: Scripts,
}

type Outcome = Result<Receipt, PublishError>;

/// The broker takes a message.
pub(crate) async fn take(broker: &MemoryBroker, history: &History, message: &Message) -> Receipt {
    let result = Arc::new(Mutex::new(Receipt::new()));
    let sink = Arc::clone(&result);
    let mut outcomes = Outcomes::new(1, move |_, outcome| {
        *sink.lock().expect("no panic holds the lock") = outcome.expect("the broker is never full");
    });
    broker
        .publish(std::slice::from_ref(message), &mut outcomes)
        .await;
    let receipt = *result.lock().expect("no panic holds the lock");
    let (id, new) = (message.id().to_string(), !receipt.duplicate);
    if new {
        history.of(Lane::Ingest).add(Event::Logged {
            id: id.clone(),
            key: message.key().map(|key| key.as_str().to_owned()),
            topic: message.topic().to_string(),
        });
    }
    history.add(Event::Accepted { id, new });
    receipt
}

impl GatedPublisher {
    /// A copy arrives some time later, whatever becomes of its sender.
    fn take_later(&self, message: &Message) {
        let chaos = &self.life.chaos;
        let delay = chaos.delay(chaos.longest * 2);
        let (broker, history) = (self.inner.clone(), self.history.clone());
        let message = message.clone();
        chaos.later(delay, async move {
            take(&broker, &history, &message).await;
        });
    }

    async fn publish_one(&self, message: &Message) -> Option<Outcome> {
        let id = message.id().to_string();
        let (life, chaos) = (&self.life, &self.life.chaos);
        let rates = &chaos.rates;
        let script = self
            .scripts
            .lock()
            .expect("no panic holds the lock")
            .get(&id)
            .copied();
        let unknown = |why: &str| Some(Err(PublishError::Unknown(why.to_owned())));
        let fault = |what| life.fault(what);
        if chaos.broker_down.load(Ordering::Relaxed) {
            fault("broker down");
            return Some(Err(PublishError::Unavailable(
                "simulated: broker down".into(),
            )));
        }
        match script.filter(|_| !chaos.healed()) {
            Some(Script::Poison) => {
                return Some(Err(PublishError::Permanent("simulated: poison".into())));
            }
            Some(Script::Flaky) => {
                return Some(Err(PublishError::Transient("simulated: flaky".into())));
            }
            Some(Script::Breaker) => return unknown("simulated: it breaks the connection"),
            Some(Script::Killer) => {
                fault("killer");
                life.end().await;
            }
            Some(Script::Plain | Script::Corrupt) | None => {}
        }
        if chaos.strikes(rates.transient) {
            fault("transient");
            return Some(Err(PublishError::Transient("simulated: busy".into())));
        }
        if chaos.strikes(rates.not_taken) {
            fault("not taken, unknown");
            return unknown("simulated: lost on the way");
        }
        if chaos.strikes(rates.late_copy) {
            fault("late copy");
            self.take_later(message);
            return unknown("simulated: a copy is on the way");
        }
        let receipt = take(&self.inner, &self.history, message).await;
        life.point(Point::Taken).await;
        if chaos.strikes(rates.ack_lost) {
            fault("ack lost");
            let silent = chaos.strikes(0.5);
            return if silent {
                None
            } else {
                unknown("simulated: ack lost")
            };
        }
        Some(Ok(receipt))
    }

    fn note(&self, message: &Message, outcome: &Outcome) {
        self.history.add(Event::Outcome {
            process: self.life.process,
            id: message.id().to_string(),
            outcome: match outcome {
                Ok(_) => Reply::Ok,
                Err(PublishError::Transient(_)) => Reply::Transient,
                Err(PublishError::Permanent(_)) => Reply::Permanent,
                Err(PublishError::Unavailable(_)) => Reply::Unavailable,
                Err(PublishError::Unknown(_)) => Reply::Unknown,
            },
        });
    }
}

/// Notes the end of every message of a batch that got no outcome, also when the batch is dropped.
struct Open {
    process: Process,
    history: History,
    ids: Vec<Option<String>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        for id in self.ids.drain(..).flatten() {
            self.history.add(Event::Ended {
                process: self.process,
                id,
            });
        }
    }
}

#[async_trait]
impl Publisher for GatedPublisher {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let (life, chaos) = (&self.life, &self.life.chaos);
        life.passed().await;
        for message in batch {
            self.history.add(Event::Sent {
                process: life.process,
                id: message.id().to_string(),
                key: message.key().map(|key| key.as_str().to_owned()),
            });
        }
        let mut open = Open {
            process: life.process,
            history: self.history.clone(),
            ids: batch
                .iter()
                .map(|message| Some(message.id().to_string()))
                .collect(),
        };
        for (index, message) in batch.iter().enumerate() {
            sleep(Duration::from_micros(500)).await;
            if chaos.strikes(chaos.rates.slow_publish) {
                life.fault("slow publish");
                sleep(chaos.delay(chaos.longest / 4)).await;
            }
            if index > 0 {
                life.point(Point::MidBatch).await;
            }
            life.passed().await;
            let outcome = self.publish_one(message).await;
            life.passed().await;
            if let Some(outcome) = outcome {
                self.note(message, &outcome);
                open.ids[index] = None;
                outcomes.report(index, outcome);
                life.point(Point::Acked).await;
            }
        }
    }

    async fn probe(&self) -> iobox_core::Result<Durability> {
        self.life.passed().await;
        sleep(Duration::from_millis(1)).await;
        if self.life.chaos.broker_down.load(Ordering::Relaxed) {
            return Err(Error::unavailable("simulated: broker down"));
        }
        Ok(Durability::Volatile)
    }
}
