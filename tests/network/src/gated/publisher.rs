//! A publisher whose calls pass the gate, and whose answers are counted.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use iobox::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, Publisher},
};
use tokio::sync::mpsc;

use crate::{gate::Gate, ledger::Sends, script::Event};

#[derive(Debug)]
pub(crate) struct GatedPublisher<P> {
    pub(crate) inner: P,
    /// Where publishes pass, unless they do not go to the server of the test.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) sends: Arc<Sends>,
}

#[async_trait]
impl<P: Publisher + fmt::Debug> Publisher for GatedPublisher<P> {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        self.sends.sent(batch);
        if let Some(gate) = &self.gate {
            gate.pass(Event::Write);
        }
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
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                next = heard.recv() => {
                    let Some((index, outcome)) = next else { return };
                    self.sends.answered(&batch[index], &outcome);
                    outcomes.report(index, outcome);
                }
                () = &mut publishing, if !ended => ended = true,
            }
        }
    }

    async fn probe(&self) -> Result<Durability> {
        self.inner.probe().await
    }
}
