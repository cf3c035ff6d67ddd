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
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::{
    gate::Chaos,
    history::{Event, History, Process, Reply},
    pause::Stopped,
    plan::Script,
};

/// What each message does to the broker.
pub(crate) type Scripts = Arc<Mutex<BTreeMap<String, Script>>>;

/// The broker as one process sees it.
#[derive(Debug, Clone)]
pub(crate) struct GatedPublisher {
    pub(crate) inner: MemoryBroker,
    pub(crate) process: Process,
    pub(crate) chaos: Arc<Chaos>,
    pub(crate) history: History,
    pub(crate) stopped: Stopped,
    pub(crate) scripts: Scripts,
    /// Where a message that kills its process says so.
    pub(crate) kills: mpsc::Sender<Process>,
    /// Copies on the way, which arrive although their sender is dead.
    pub(crate) wire: Arc<Mutex<JoinSet<()>>>,
}

type Outcome = Result<Receipt, PublishError>;

impl GatedPublisher {
    /// The broker takes a message.
    async fn take(&self, message: &Message) -> Receipt {
        let result = Arc::new(Mutex::new(Receipt::new()));
        let sink = Arc::clone(&result);
        let mut outcomes = Outcomes::new(1, move |_, outcome| {
            *sink.lock().expect("no panic holds the lock") =
                outcome.expect("the broker is never full");
        });
        self.inner
            .publish(std::slice::from_ref(message), &mut outcomes)
            .await;
        let receipt = *result.lock().expect("no panic holds the lock");
        self.history.add(Event::Accepted {
            id: message.id().to_string(),
            new: !receipt.duplicate,
        });
        receipt
    }

    /// A copy arrives some time later, whatever becomes of its sender.
    fn take_later(&self, message: &Message) {
        let delay = self.chaos.delay(self.chaos.longest * 2);
        let (broker, message) = (self.clone(), message.clone());
        self.wire
            .lock()
            .expect("no panic holds the lock")
            .spawn(async move {
                sleep(delay).await;
                broker.take(&message).await;
            });
    }

    async fn publish_one(&self, message: &Message) -> Option<Outcome> {
        let id = message.id().to_string();
        let rates = &self.chaos.rates;
        let script = self
            .scripts
            .lock()
            .expect("no panic holds the lock")
            .get(&id)
            .copied();
        let unknown = |why: &str| Some(Err(PublishError::Unknown(why.to_owned())));
        let fault = |what| self.history.add(Event::Fault { what });
        if self.chaos.broker_down.load(Ordering::Relaxed) {
            fault("broker down");
            return Some(Err(PublishError::Unavailable(
                "simulated: broker down".into(),
            )));
        }
        match script.filter(|_| !self.chaos.healed()) {
            Some(Script::Poison) => {
                return Some(Err(PublishError::Permanent("simulated: poison".into())));
            }
            Some(Script::Flaky) => {
                return Some(Err(PublishError::Transient("simulated: flaky".into())));
            }
            Some(Script::Breaker) => return unknown("simulated: it breaks the connection"),
            Some(Script::Killer) => {
                fault("killer");
                // Full means that the kill is under way already.
                let _ = self.kills.try_send(self.process);
                std::future::pending::<()>().await;
            }
            Some(Script::Plain | Script::Corrupt) | None => {}
        }
        if self.chaos.strikes(rates.transient) {
            fault("transient");
            return Some(Err(PublishError::Transient("simulated: busy".into())));
        }
        if self.chaos.strikes(rates.not_taken) {
            fault("not taken, unknown");
            return unknown("simulated: lost on the way");
        }
        if self.chaos.strikes(rates.late_copy) {
            fault("late copy");
            self.take_later(message);
            return unknown("simulated: a copy is on the way");
        }
        let receipt = self.take(message).await;
        if self.chaos.strikes(rates.ack_lost) {
            fault("ack lost");
            let silent = self.chaos.strikes(0.5);
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
            process: self.process,
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
        self.stopped.passed().await;
        for message in batch {
            self.history.add(Event::Sent {
                process: self.process,
                id: message.id().to_string(),
                key: message.key().map(|key| key.as_str().to_owned()),
            });
        }
        let mut open = Open {
            process: self.process,
            history: self.history.clone(),
            ids: batch
                .iter()
                .map(|message| Some(message.id().to_string()))
                .collect(),
        };
        for (index, message) in batch.iter().enumerate() {
            sleep(Duration::from_micros(500)).await;
            if self.chaos.strikes(self.chaos.rates.slow_publish) {
                self.history.add(Event::Fault {
                    what: "slow publish",
                });
                sleep(self.chaos.delay(self.chaos.longest / 4)).await;
            }
            self.stopped.passed().await;
            let outcome = self.publish_one(message).await;
            self.stopped.passed().await;
            if let Some(outcome) = outcome {
                self.note(message, &outcome);
                open.ids[index] = None;
                outcomes.report(index, outcome);
            }
        }
    }

    async fn probe(&self) -> iobox_core::Result<Durability> {
        self.stopped.passed().await;
        sleep(Duration::from_millis(1)).await;
        if self.chaos.broker_down.load(Ordering::Relaxed) {
            return Err(Error::unavailable("simulated: broker down"));
        }
        Ok(Durability::Volatile)
    }
}
