//! Handlers: they fail, reject, panic, hang, outlast their lease and kill their process, and what
//! they did is noted.

use std::{
    collections::BTreeMap,
    future::pending,
    panic::panic_any,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    handler::{Handler, HandlerError, TxHandler},
    inbox::HandlerName,
    memory::MemoryStore,
    message::{Draft, Message},
    store::Enqueue,
};
use tokio::time::sleep;

use crate::{
    gate::GatedTx,
    history::{Event, History, Id, Lane, Process, Reply},
    life::Life,
};

/// What a panic of a handler carries, so that it is not printed.
pub(crate) struct Simulated;

/// The name of a handler.
pub(crate) fn name_of(number: u8) -> String {
    format!("h{number}")
}

/// The number of a handler.
pub(crate) fn number_of(handler: &HandlerName) -> u8 {
    let digits = handler.as_str().trim_start_matches('h');
    digits.parse().expect("handlers have numbers")
}

/// What a message does to a handler until the heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Plain,
    Poison,
    Flaky,
    Panics,
    Hangs,
    Killer,
}

/// The script of each message for each handler, drawn when it first comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scripts(Arc<Mutex<BTreeMap<(u8, Id), Script>>>);

impl Scripts {
    fn of(&self, number: u8, id: &str, life: &Life) -> Script {
        let mut scripts = self.0.lock().expect("no panic holds the lock");
        *scripts.entry((number, id.to_owned())).or_insert_with(|| {
            let rates = &life.chaos.rates;
            for (rate, script) in [
                (rates.handler_poison, Script::Poison),
                (rates.handler_flaky, Script::Flaky),
                (rates.handler_panics, Script::Panics),
                (rates.handler_hangs, Script::Hangs),
                (rates.handler_killer, Script::Killer),
            ] {
                if life.chaos.strikes(rate) {
                    return script;
                }
            }
            Script::Plain
        })
    }
}

/// One run of a handler. When it is dropped without an outcome it was given up.
#[derive(Debug)]
pub(crate) struct Attempt {
    history: History,
    process: Process,
    id: Option<Id>,
}

impl Attempt {
    fn start(history: &History, process: Process, message: &Message) -> Self {
        let id = message.id().to_string();
        history.add(Event::Sent {
            process,
            id: id.clone(),
            key: message.key().map(|key| key.as_str().to_owned()),
        });
        Self {
            history: history.clone(),
            process,
            id: Some(id),
        }
    }

    fn ended(mut self, outcome: Reply) {
        if let Some(id) = self.id.take() {
            let process = self.process;
            self.history.add(Event::Outcome {
                process,
                id,
                outcome,
            });
        }
    }

    /// It succeeded, and its caller knows.
    pub(crate) fn succeeded(self) {
        self.ended(Reply::Ok);
    }

    fn failed(self, error: &HandlerError) {
        self.ended(match error {
            HandlerError::Reject(_) => Reply::Permanent,
            _ => Reply::Transient,
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let process = self.process;
            self.history.add(Event::Ended { process, id });
        }
    }
}

/// The business code of one handler in one process.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) number: u8,
    pub(crate) life: Life,
    pub(crate) scripts: Scripts,
    /// Where effects go.
    pub(crate) effects: MemoryStore,
}

impl Work {
    fn start(&self, message: &Message) -> (History, Attempt) {
        let history = self.life.history.of(Lane::Handler(self.number));
        let attempt = Attempt::start(&history, self.life.process, message);
        (history, attempt)
    }

    async fn act(&self, message: &Message) -> Result<(), HandlerError> {
        let (life, chaos) = (&self.life, &self.life.chaos);
        let rates = &chaos.rates;
        life.passed().await;
        sleep(Duration::from_micros(500)).await;
        let script = self.scripts.of(self.number, message.id().as_str(), life);
        match script {
            _ if chaos.healed() => {}
            Script::Poison => return Err(HandlerError::Reject("simulated: poison".into())),
            Script::Flaky => return Err("simulated: flaky".into()),
            Script::Panics => {
                life.fault("handler panics");
                panic_any(Simulated);
            }
            Script::Hangs => {
                life.fault("handler never returns");
                pending::<()>().await;
            }
            Script::Killer => {
                life.fault("handler kills its process");
                life.end().await;
            }
            Script::Plain => {}
        }
        if chaos.strikes(rates.handler_slow) {
            life.fault("handler outlasts the lease");
            sleep(chaos.longest.mul_f64(1.2)).await;
        }
        life.passed().await;
        if chaos.strikes(rates.handler_fails) {
            life.fault("handler fails");
            return Err(if chaos.strikes(0.5) {
                HandlerError::RetryAfter(Duration::from_millis(30), "simulated: busy".into())
            } else {
                "simulated: failed".into()
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for Work {
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        let (history, attempt) = self.start(message);
        let acted = self.act(message).await;
        match &acted {
            Ok(()) => {
                let (id, new) = (message.id().to_string(), true);
                history.add(Event::Accepted { id, new });
                attempt.succeeded();
            }
            Err(error) => attempt.failed(error),
        }
        acted
    }
}

#[async_trait]
impl TxHandler<GatedTx> for Work {
    async fn handle(&self, tx: &mut GatedTx, message: &Message) -> Result<(), HandlerError> {
        let (_, attempt) = self.start(message);
        let effect = Draft::new("effects", "").key(format!("{} {}", self.number, message.id()));
        self.effects.enqueue(&mut tx.inner, &[effect]).await?;
        let acted = self.act(message).await;
        match &acted {
            // It ends with the transaction.
            Ok(()) => tx.attempt = Some(attempt),
            Err(error) => attempt.failed(error),
        }
        acted
    }
}
