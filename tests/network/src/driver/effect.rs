//! The handler: its effect is a row.

use async_trait::async_trait;
use iobox::{
    handler::{HandlerError, TxHandler},
    memory::MemoryStore,
    memory::MemoryTx,
    message::{Draft, Message},
    queue::Queue,
    store::Enqueue as _,
    store::{Admin, Entry, Filter, Page},
};
use sqlx::{AssertSqlSafe, PgConnection};

/// The name of the handler.
pub(super) const HANDLER: &str = "book";

/// In a table without a unique key.
#[derive(Debug)]
pub(super) struct InPostgres {
    pub(super) insert: String,
}

#[async_trait]
impl TxHandler<PgConnection> for InPostgres {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        sqlx::query(AssertSqlSafe(self.insert.as_str()))
            .bind(message.id().as_str())
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// As a message in the store's own outbox, whose topic tells of which message.
#[derive(Debug)]
pub(super) struct InMemory(pub(super) MemoryStore);

#[async_trait]
impl TxHandler<MemoryTx> for InMemory {
    async fn handle(&self, tx: &mut MemoryTx, message: &Message) -> Result<(), HandlerError> {
        let effect = Draft::new(message.id().as_str(), "effect");
        self.0.enqueue(tx, &[effect]).await?;
        Ok(())
    }
}

/// Every row of a queue.
pub(super) async fn rows<A: Admin>(store: &A, queue: &Queue) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let page = Page {
            after: all.last().map(|row| row.seq),
            ..Page::default()
        };
        let more = store.list(queue, &Filter::default(), page).await;
        let more = more.expect("a list");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}
