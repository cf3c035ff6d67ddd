//! A wrapper without faults is what it wraps: it passes the suites.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    memory::{MemoryStore, MemoryTx},
    message::{Draft, MessageId},
    partition::Partitions,
    store::{Enqueue, Enqueued},
};
use iobox_testkit::{
    fault::{Faults, FaultyStore},
    suite::{Harness, Misfit, OpenTransaction},
};

struct Wrapped(Arc<FaultyStore<MemoryStore>>);

struct Open(Arc<FaultyStore<MemoryStore>>, MemoryTx);

#[async_trait]
impl Harness for Wrapped {
    type Store = FaultyStore<MemoryStore>;
    type Open = Open;

    const CONCURRENT_WRITERS: bool = true;
    const REFUSES_MISFITS: bool = false;

    async fn fresh(partitions: Partitions) -> Self {
        let store = MemoryStore::new(partitions);
        Self(Arc::new(Faults::none().store(store)))
    }

    fn store(&self) -> &Arc<Self::Store> {
        &self.0
    }

    async fn another(&self) -> Arc<Self::Store> {
        Arc::clone(&self.0)
    }

    async fn begin(&self) -> Result<Open> {
        Ok(Open(Arc::clone(&self.0), self.0.inner().begin()))
    }

    async fn advance(&self, by: Duration) {
        self.0.inner().clock().advance(by);
    }

    async fn corrupt(&self, id: &MessageId) {
        self.0.inner().corrupt(id, "topic breaks a bound");
    }

    async fn misfit(_: Misfit) -> Option<Arc<Self::Store>> {
        None
    }
}

#[async_trait]
impl OpenTransaction for Open {
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.0.enqueue(&mut self.1, drafts).await
    }

    async fn commit(self) -> Result<()> {
        self.1.commit()
    }

    async fn rollback(self) -> Result<()> {
        self.1.rollback();
        Ok(())
    }
}

iobox_testkit::store_suite!(Wrapped);
iobox_testkit::inbox_suite!(Wrapped);
