//! A broker in memory that nobody should trust.

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::SourceName,
    memory::{MemoryBroker, MemorySource},
    message::Message,
    publisher::{Durability, Outcomes, Publisher},
};

use super::{Faults, FaultyPublisher, FaultySource};

/// A broker in memory that keeps every copy, and duplicates, reorders, and drops acks as its
/// [`Faults`] say, on the way in and on the way out.
#[derive(Debug, Clone)]
pub struct UnreliableBroker {
    way_in: FaultyPublisher<Forgetful>,
    faults: Faults,
}

/// A broker that does not know messages again.
#[derive(Debug, Clone)]
struct Forgetful(MemoryBroker);

impl UnreliableBroker {
    /// An empty broker.
    #[must_use]
    pub fn new(faults: &Faults) -> Self {
        Self::of(MemoryBroker::new(), faults)
    }

    /// The same log for the next process, after [`Faults::restart`].
    #[must_use]
    pub fn of(log: MemoryBroker, faults: &Faults) -> Self {
        Self {
            way_in: faults.publisher(Forgetful(log)),
            faults: faults.clone(),
        }
    }

    /// What it holds, each copy.
    #[must_use]
    pub const fn log(&self) -> &MemoryBroker {
        &self.way_in.inner().0
    }

    /// Its log as the source of an inbox: deliveries come twice, in another order across keys, and acks
    /// get lost.
    #[must_use]
    pub fn source(&self, name: SourceName) -> FaultySource<MemorySource> {
        self.faults.source(self.log().source(name))
    }
}

#[async_trait]
impl Publisher for UnreliableBroker {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        self.way_in.publish(batch, outcomes).await;
    }

    async fn probe(&self) -> Result<Durability> {
        self.way_in.probe().await
    }
}

#[async_trait]
impl Publisher for Forgetful {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        self.0.forget_ids();
        self.0.publish(batch, outcomes).await;
    }

    async fn probe(&self) -> Result<Durability> {
        self.0.probe().await
    }
}
