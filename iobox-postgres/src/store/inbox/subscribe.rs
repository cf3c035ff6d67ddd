//! Subscribing: which handlers there are, and who gets what was kept.

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{HandlerName, Subscription},
    message::Topic,
    queue::Queue,
    store::Subscribe,
};
use sqlx::PgConnection;

use super::{
    receive::{Row, Rows},
    routing::numbers_of,
};
use crate::{
    error::from_sqlx,
    row::get,
    sql::{Shelf, Statement},
    store::PostgresStore,
};

fn failed(source: sqlx::Error) -> Error {
    from_sqlx("subscribing", source)
}

impl PostgresStore {
    async fn subscribe_all(&self, all: Vec<Subscription>) -> Result<()> {
        self.known(&Queue::Outbox)?;
        self.verify().await?;
        let mut tx = self.begin_own("subscribing").await?;
        let sql = &self.sql.inbox;
        // Nobody receives from here to the commit.
        execute(&sql.change_routing, &mut tx).await?;
        self.add(&mut tx, &all).await?;
        self.hand_over(&mut tx).await?;
        tx.commit("subscribing").await
    }

    /// Adds the subscriptions that are not there, and what they need.
    async fn add(&self, tx: &mut PgConnection, all: &[Subscription]) -> Result<()> {
        let column =
            |text: fn(&Subscription) -> String| -> Vec<String> { all.iter().map(text).collect() };
        let handlers: Vec<_> = all.iter().map(|one| one.handler.clone()).collect();
        self.add_handlers(tx, &handlers).await?;
        self.sql
            .inbox
            .add_subscriptions
            .query()
            .bind(column(|one| one.pattern.as_str().to_owned()))
            .bind(column(|one| one.handler.as_str().to_owned()))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Adds the handlers and partitions that are not there, without a subscription. Under the lock of the
    /// subscriptions.
    pub(in crate::store) async fn add_handlers(
        &self,
        tx: &mut PgConnection,
        handlers: &[HandlerName],
    ) -> Result<()> {
        let sql = &self.sql.inbox;
        let mut handlers = handlers.to_vec();
        handlers.sort_unstable();
        handlers.dedup();
        let column = |text: fn(&HandlerName) -> String| -> Vec<String> {
            handlers.iter().map(text).collect()
        };
        let names = column(|name| name.as_str().to_owned());
        let queues = column(|name| Queue::Inbox(name.clone()).name().to_owned());
        let added = sql
            .add_handlers
            .query()
            .bind(names.clone())
            .execute(&mut *tx);
        added.await.map_err(|source| {
            let full = source
                .as_database_error()
                .and_then(|error| error.constraint())
                .is_some_and(|name| name.ends_with("handler_number"));
            if full {
                return Error::invalid(format!(
                    "the store has {} handlers, retired ones too, and takes no more",
                    Shelf::HANDLERS_MAX
                ));
            }
            failed(source)
        })?;
        sql.add_partitions
            .query()
            .bind(names)
            .bind(queues)
            .bind(i32::from(self.config.partitions.count()))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Gives what was kept to whoever wants it now.
    async fn hand_over(&self, tx: &mut PgConnection) -> Result<()> {
        let sql = &self.sql.inbox;
        let table = self.read_subscriptions(tx).await?;
        let wants = |topic: &str| {
            Topic::new(topic).map_or_else(|_| Vec::new(), |topic| numbers_of(&table, &topic))
        };
        let topics = sql.kept_topics.query().fetch_all(&mut *tx).await;
        let mut wanted = Vec::new();
        for row in &topics.map_err(failed)? {
            let topic: String = get(row, 0)?;
            if !wants(&topic).is_empty() {
                wanted.push(topic);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let opened = sql.kept.query().bind(wanted).execute(&mut *tx).await;
        opened.map_err(failed)?;
        // A part at a time, so that neither memory nor a message to the server grows with what was kept,
        // and the session never stands idle for long.
        loop {
            let kept = sql.next_kept.query().fetch_all(&mut *tx).await;
            let kept = kept.map_err(failed)?;
            if kept.is_empty() {
                return Ok(());
            }
            let (mut rows, mut seqs) = (Rows::default(), Vec::with_capacity(kept.len()));
            for row in &kept {
                let row = Row {
                    message: get(row, 0)?,
                    id: get(row, 1)?,
                    topic: get(row, 2)?,
                    key: get(row, 3)?,
                    size: get(row, 4)?,
                };
                seqs.push(row.message);
                self.push_rows(&mut rows, &row, &wants(&row.topic));
            }
            self.give(tx, rows).await?;
            let routed = sql.route.query().bind(seqs).execute(&mut *tx).await;
            routed.map_err(failed)?;
        }
    }

    async fn retire_handler(&self, handler: HandlerName) -> Result<bool> {
        let mut tx = self.begin_own("subscribing").await?;
        execute(&self.sql.inbox.change_routing, &mut tx).await?;
        let retire = self
            .sql
            .inbox
            .retire
            .query()
            .bind(handler.as_str().to_owned());
        let removed = retire.execute(&mut *tx).await.map_err(failed)?;
        tx.commit("subscribing").await?;
        Ok(removed.rows_affected() > 0)
    }
}

async fn execute(statement: &Statement, tx: &mut PgConnection) -> Result<()> {
    statement.query().execute(tx).await.map_err(failed)?;
    Ok(())
}

#[async_trait]
impl Subscribe for PostgresStore {
    /// Adds subscriptions; see [`Subscribe::subscribe`]. When this future is dropped it goes on to its
    /// end all the same. A store takes 127 handlers, retired ones too.
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        let (this, all) = (self.clone(), subscriptions.to_vec());
        let running = tokio::spawn(async move { this.subscribe_all(all).await });
        running
            .await
            .map_err(|source| Error::internal("subscribing panicked").with_source(source))??;
        self.signal.wake();
        Ok(())
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        let (this, handler) = (self.clone(), handler.clone());
        tokio::spawn(async move { this.retire_handler(handler).await })
            .await
            .map_err(|source| Error::internal("retiring panicked").with_source(source))?
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let mut connection = self.admin_pool.acquire().await.map_err(failed)?;
        let found = self.read_subscriptions(&mut connection).await?;
        let mut found: Vec<_> = found.into_iter().map(|one| one.subscription).collect();
        found.sort_unstable();
        Ok(found)
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        let query = self
            .sql
            .inbox
            .handler
            .query()
            .bind(handler.as_str().to_owned());
        let found = query
            .fetch_optional(&self.admin_pool)
            .await
            .map_err(failed)?;
        let row = found.ok_or_else(|| {
            Error::invalid(format!(
                "handler {handler} was never subscribed; subscribe it"
            ))
        })?;
        Ok(self.another(Shelf {
            queue: Queue::Inbox(handler.clone()).name().to_owned(),
            base: get::<i16>(&row, 0)? * 256,
        }))
    }
}
