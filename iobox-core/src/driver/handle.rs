//! Handling: runs a handler on each message.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{task::JoinSet, time::timeout};

use super::executor::{Executor, Reports};
use crate::{
    Result,
    dispatch::{Outcome, RunId},
    handler::{Handler, HandlerError},
    message::Message,
    publisher::Durability,
};

/// Executes messages by running a handler.
///
/// Each runs in a task of its own, so that a panic is a failed attempt. A handler that exceeds its
/// timeout is aborted; one that does not yield keeps its slot until it ends.
pub(crate) struct HandleExecutor {
    handler: Arc<dyn Handler>,
    handle_timeout: Duration,
}

impl HandleExecutor {
    pub(crate) fn new(handler: Arc<dyn Handler>, handle_timeout: Duration) -> Self {
        Self {
            handler,
            handle_timeout,
        }
    }

    async fn run(&self, message: Message) -> Outcome {
        let handler = Arc::clone(&self.handler);
        let mut task = JoinSet::new();
        task.spawn(async move { handler.handle(&message).await });
        match timeout(self.handle_timeout, task.join_next()).await {
            Ok(Some(Ok(Ok(())))) => Outcome::Ok { duplicate: false },
            Ok(Some(Ok(Err(error)))) => outcome_of(error),
            Ok(Some(Err(_)) | None) => transient("the handler panicked".into()),
            Err(_) => {
                task.shutdown().await;
                transient(format!(
                    "the handler did not end within {:?}",
                    self.handle_timeout
                ))
            }
        }
    }
}

#[async_trait]
impl Executor for HandleExecutor {
    async fn execute(self: Arc<Self>, batch: Vec<(RunId, Message)>, reports: Reports) {
        let mut tasks = JoinSet::new();
        for (run, message) in batch {
            let executor = Arc::clone(&self);
            let reports = reports.clone();
            tasks.spawn(async move {
                let outcome = executor.run(message).await;
                reports.report(run, outcome);
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Volatile)
    }
}

fn transient(reason: String) -> Outcome {
    Outcome::Transient {
        reason,
        after: None,
    }
}

fn outcome_of(error: HandlerError) -> Outcome {
    match error {
        HandlerError::Retry(source) => transient(source.to_string()),
        HandlerError::RetryAfter(after, source) => Outcome::Transient {
            reason: source.to_string(),
            after: Some(after),
        },
        HandlerError::Reject(source) => Outcome::Permanent {
            reason: source.to_string(),
        },
    }
}

impl fmt::Debug for HandleExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleExecutor")
            .field("handle_timeout", &self.handle_timeout)
            .finish_non_exhaustive()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the paused clock jumps from timer to timer"
)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::{oneshot, watch};

    use super::*;
    use crate::{
        Outbox,
        dispatch::{RetryPolicy, Settings},
        driver::{Driver, Turn},
        memory::MemoryStore,
        message::{Draft, RandomIds},
        partition::Partitions,
        queue::Queue,
        store::{Admin, Filter, Page, State},
    };

    /// Fails twice on "flaky", panics once on "panic", rejects "poison", and notes what it handled.
    #[derive(Default)]
    struct Scripted {
        handled: Mutex<Vec<String>>,
        calls: Mutex<std::collections::BTreeMap<String, u32>>,
    }

    #[async_trait]
    impl Handler for Scripted {
        async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
            let id = message.id().to_string();
            let call = {
                let mut calls = self.calls.lock().unwrap();
                let call = calls.entry(id.clone()).or_default();
                *call += 1;
                *call
            };
            match (id.as_str(), call) {
                ("flaky", 1 | 2) => return Err(HandlerError::Retry("not yet".into())),
                ("panic", 1) => panic!("as scripted"),
                ("poison", _) => return Err(HandlerError::Reject("never".into())),
                ("slow", 1) => std::future::pending::<()>().await,
                _ => {}
            }
            self.handled.lock().unwrap().push(id);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_machine_drives_handlers() {
        let store = MemoryStore::new(Partitions::new(2).unwrap());
        let outbox = Outbox::new(store.clone());
        let mut tx = store.begin();
        for (id, key) in [
            ("flaky", "a"),
            ("after-flaky", "a"),
            ("panic", "b"),
            ("poison", "c"),
            ("after-poison", "c"),
            ("slow", "d"),
            ("plain", "e"),
        ] {
            let draft = Draft::new("t", "").id(id).key(key);
            outbox.enqueue(&mut tx, &draft).await.unwrap();
        }
        tx.commit().unwrap();

        let handler = Arc::new(Scripted::default());
        let mut settings = Settings::new(Queue::Outbox);
        settings.retry =
            RetryPolicy::new(Duration::from_millis(10), Duration::from_millis(20), 5).unwrap();
        let executor =
            HandleExecutor::new(Arc::<Scripted>::clone(&handler), Duration::from_secs(1));
        let driver = Driver::new(
            settings,
            Arc::new(store.clone()),
            Arc::new(executor),
            Arc::new(RandomIds),
            watch::Sender::new(Turn::first()),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(driver.run(async {
            let _ = stopped.await;
        }));
        let listing = async || {
            let mut entries = store
                .list(&Queue::Outbox, &Filter::default(), Page::default())
                .await
                .unwrap();
            entries.sort_by(|a, b| a.id.cmp(&b.id));
            entries
        };
        // Bounded polling: the paused clock jumps from timer to timer.
        for _ in 0..1_000 {
            let open = listing()
                .await
                .iter()
                .any(|entry| matches!(entry.state, State::Pending | State::Retrying));
            if !open {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.send(()).unwrap();
        run.await.unwrap();

        let states: Vec<_> = listing()
            .await
            .into_iter()
            .map(|entry| (entry.id, entry.state, entry.attempt))
            .collect();
        let state = |id: &str, state, attempt| (id.to_owned(), state, attempt);
        assert_eq!(
            states,
            [
                state("after-flaky", State::Done, 1),
                state("after-poison", State::Waiting, 0),
                state("flaky", State::Done, 3),
                state("panic", State::Done, 2),
                state("plain", State::Done, 1),
                state("poison", State::Dead, 1),
                state("slow", State::Done, 2),
            ]
        );
        let handled = handler.handled.lock().unwrap().clone();
        let place = |id: &str| handled.iter().position(|other| other == id).unwrap();
        assert!(place("flaky") < place("after-flaky"));
        assert_eq!(handled.len(), 5);
    }
}
