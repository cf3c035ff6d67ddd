//! Certifies the store in memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    memory::{MemoryStore, MemoryTx},
    message::{Draft, MessageId},
    partition::Partitions,
    store::{Enqueue, Enqueued},
};
use iobox_testkit::suite::{Harness, Misfit, OpenTransaction};

struct Memory(Arc<MemoryStore>);

struct Open {
    store: Arc<MemoryStore>,
    tx: MemoryTx,
}

#[async_trait]
impl Harness for Memory {
    type Store = MemoryStore;
    type Open = Open;

    const CONCURRENT_WRITERS: bool = true;
    const REFUSES_MISFITS: bool = false;

    fn adapter() -> Option<String> {
        Some(String::from("MemoryStore"))
    }

    async fn fresh(partitions: Partitions) -> Self {
        Self(Arc::new(MemoryStore::new(partitions)))
    }

    fn store(&self) -> &Arc<MemoryStore> {
        &self.0
    }

    async fn another(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.0)
    }

    async fn begin(&self) -> Result<Open> {
        Ok(Open {
            store: Arc::clone(&self.0),
            tx: self.0.begin(),
        })
    }

    async fn advance(&self, by: Duration) {
        self.0.clock().advance(by);
    }

    async fn corrupt(&self, id: &MessageId) {
        self.0.corrupt(id, "topic breaks a bound");
    }

    async fn misfit(_: Misfit) -> Option<Arc<MemoryStore>> {
        None
    }
}

#[async_trait]
impl OpenTransaction for Open {
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.store.enqueue(&mut self.tx, drafts).await
    }

    async fn commit(self) -> Result<()> {
        self.tx.commit()
    }

    async fn rollback(self) -> Result<()> {
        self.tx.rollback();
        Ok(())
    }
}

iobox_testkit::store_suite!(Memory);
iobox_testkit::inbox_suite!(Memory);
