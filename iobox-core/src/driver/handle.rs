//! Handling: runs a handler on each message.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{
    contain::{Run, contained},
    executor::{Execution, Executor, Reports},
};
use crate::{
    Result,
    dispatch::Outcome,
    handler::HandlerError,
    inbox::{Attempt, Attempted},
    publisher::Durability,
};

/// Executes messages by running a handler.
///
/// Each runs in a task of its own, so that a panic is a failed attempt. A handler that exceeds its
/// timeout is aborted; one that does not yield keeps its slot until it ends.
pub(crate) struct HandleExecutor<S> {
    store: S,
    queue: S,
    attempt: Arc<dyn Attempt<S>>,
    handle_timeout: Duration,
}

impl<S: Clone + Send + Sync + 'static> HandleExecutor<S> {
    pub(crate) const fn new(
        store: S,
        queue: S,
        attempt: Arc<dyn Attempt<S>>,
        handle_timeout: Duration,
    ) -> Self {
        Self {
            store,
            queue,
            attempt,
            handle_timeout,
        }
    }

    async fn run(self: Arc<Self>, execution: Execution) -> Outcome {
        let limit = self.handle_timeout;
        let Some(success) = execution.success else {
            return transient("the partition was lost".into());
        };
        // Its error is read in there too: what an error says is code of the handler's as well.
        let attempt = async move {
            let attempted =
                self.attempt
                    .attempt(&self.store, &self.queue, &execution.message, &success);
            match attempted.await {
                Ok(Attempted::Handled) => Outcome::Ok { duplicate: false },
                Ok(Attempted::Committed) => Outcome::Settled,
                Ok(Attempted::NotRun { reason }) => Outcome::Unavailable { reason },
                Err(error) => outcome_of(error),
            }
        };
        match contained(limit, attempt).await {
            Run::Ended(outcome) => outcome,
            Run::Panicked => transient("the handler panicked".into()),
            Run::TooSlow => transient(format!("the handler did not end within {limit:?}")),
        }
    }
}

#[async_trait]
impl<S: Clone + Send + Sync + 'static> Executor for HandleExecutor<S> {
    const RECORDS: bool = true;

    async fn execute(self: Arc<Self>, mut batch: Vec<Execution>, reports: Reports) {
        // When as many run as may, one ends and the next begins: it needs no other task than this one.
        if batch.len() == 1
            && let Some(execution) = batch.pop()
        {
            let run = execution.run;
            reports.report(run, self.run(execution).await);
            return;
        }
        let mut tasks = JoinSet::new();
        for execution in batch {
            let (run, executor) = (execution.run, Arc::clone(&self));
            let reports = reports.clone();
            tasks.spawn(async move {
                let outcome = executor.run(execution).await;
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

impl<S> fmt::Debug for HandleExecutor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleExecutor")
            .field("handle_timeout", &self.handle_timeout)
            .finish_non_exhaustive()
    }
}
