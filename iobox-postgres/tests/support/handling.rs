//! A store with messages that somebody is about to handle in transactions.

use std::sync::Arc;

use iobox_core::store::{Pending, Settled, Transact};
use iobox_postgres::{PostgresStore, Session};
use iobox_testkit::suite::inbox::support::{Worker, delivery, receive, subscribe};
use sqlx::PgConnection;

use super::{
    Schema,
    effect::{effect_table, effects, insert},
};

/// How many connections the stores here have for transactions.
pub(crate) const SESSIONS: u32 = 2;

/// A store whose rows of handler `a` a worker has fetched.
pub(crate) struct Given {
    pub(crate) schema: Schema,
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) worker: Worker<PostgresStore>,
    pub(crate) rows: Vec<Pending>,
}

impl Given {
    pub(crate) async fn new(messages: usize) -> Self {
        let schema = Schema::new();
        let config = schema.config().pool_size(SESSIONS).partitions(1);
        let store = schema.store(config).await;
        store.migrate().await.expect("migrate");
        effect_table(&schema).await;
        subscribe(&*store, &[("t", "a")]).await;
        let all: Vec<_> = (0..messages)
            .map(|n| delivery("t", &n.to_string(), ""))
            .collect();
        receive(&*store, &all).await;
        let worker = Worker::new(&*store, "a").await;
        let rows = worker.fetch().await;
        assert_eq!(rows.len(), messages);
        Self {
            schema,
            store,
            worker,
            rows,
        }
    }

    pub(crate) async fn begin(&self) -> Session {
        self.store.begin_handling().await.expect("begin")
    }

    pub(crate) async fn insert(&self, tx: &mut Session, id: &str) {
        self.insert_into(tx, id).await;
    }

    pub(crate) async fn insert_into(&self, tx: &mut PgConnection, id: &str) {
        insert(tx, &self.schema.0, "a", id).await;
    }

    pub(crate) async fn finish(&self, tx: Session, row: usize) -> Settled {
        let success = self.worker.success(&self.rows[row]);
        let finished = self
            .store
            .mark_and_commit(tx, self.worker.store(), &success)
            .await;
        finished.expect("a reply")
    }

    pub(crate) async fn committed(&self) -> i64 {
        effects(&self.schema.0, "true").await.0
    }
}
