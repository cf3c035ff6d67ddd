//! Publishing: hands batches to a publisher.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::executor::{Execution, Executor, Reports};
use crate::{
    Error, Result,
    dispatch::{Outcome, RunId},
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};

/// Executes messages by publishing them.
#[derive(Debug)]
pub(crate) struct PublishExecutor {
    publisher: Arc<dyn Publisher>,
    publish_timeout: Duration,
}

impl PublishExecutor {
    pub(crate) fn new(publisher: Arc<dyn Publisher>, publish_timeout: Duration) -> Self {
        Self {
            publisher,
            publish_timeout,
        }
    }
}

#[async_trait]
impl Executor for PublishExecutor {
    const RECORDS: bool = false;

    async fn execute(self: Arc<Self>, batch: Vec<Execution>, reports: Reports) {
        let (runs, messages): (Vec<RunId>, Vec<Message>) =
            batch.into_iter().map(|one| (one.run, one.message)).unzip();
        let mut outcomes = Outcomes::new(runs.len(), move |index, outcome| {
            if let Some(run) = runs.get(index) {
                reports.report(*run, outcome_of(outcome));
            }
        });
        let publish = self.publisher.publish(&messages, &mut outcomes);
        if timeout(self.publish_timeout, publish).await.is_err() {
            outcomes.close(&format!("no outcome within {:?}", self.publish_timeout));
        }
    }

    async fn probe(&self) -> Result<Durability> {
        timeout(self.publish_timeout, self.publisher.probe())
            .await
            .unwrap_or_else(|_| {
                Err(Error::unavailable(format!(
                    "the broker did not answer a probe within {:?}",
                    self.publish_timeout
                )))
            })
    }
}

fn outcome_of(outcome: Result<Receipt, PublishError>) -> Outcome {
    match outcome {
        Ok(receipt) => Outcome::Ok {
            duplicate: receipt.duplicate,
        },
        Err(PublishError::Transient(reason)) => Outcome::Transient {
            reason,
            after: None,
        },
        Err(PublishError::Permanent(reason)) => Outcome::Permanent { reason },
        Err(PublishError::Unavailable(reason)) => Outcome::Unavailable { reason },
        Err(PublishError::Unknown(reason)) => Outcome::Unknown { reason },
    }
}
