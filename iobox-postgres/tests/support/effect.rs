//! The effect of a handler: a row in a table of the test.

use std::time::Duration;

use async_trait::async_trait;
use iobox_core::{
    handler::{HandlerError, TxHandler},
    message::Message,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::watch;

use super::{Schema, connection, number, run};

/// The handlers that have effects.
pub(crate) const HANDLERS: [&str; 2] = ["a", "b"];

/// Makes the table.
pub(crate) async fn effect_table(schema: &Schema) {
    let sql = format!(
        "create table \"{}\".effect (handler text, id text)",
        schema.0
    );
    run(&mut connection().await, sql).await;
}

/// How many effects there are, and of how many messages.
pub(crate) async fn effects(schema: &str, condition: &str) -> (i64, i64) {
    let mut person = connection().await;
    let from = format!("from \"{schema}\".effect where {condition}");
    let all = number(&mut person, format!("select count(*) {from}")).await;
    let distinct = format!("select count(distinct id) {from}");
    (all, number(&mut person, distinct).await)
}

/// Writes one row, and takes its time.
pub(crate) struct Effect {
    schema: String,
    handler: &'static str,
    pause: Duration,
    /// The only id that it is slow for, if there is one, and what it waits for after the pause.
    slow: Option<(&'static str, watch::Receiver<bool>)>,
    pub(crate) started: watch::Sender<u32>,
}

impl Effect {
    pub(crate) fn new(schema: &str, handler: &'static str, pause: Duration) -> Self {
        Self {
            schema: schema.to_owned(),
            handler,
            pause,
            slow: None,
            started: watch::Sender::new(0),
        }
    }

    pub(crate) fn slow_for(self, id: &'static str, gate: watch::Receiver<bool>) -> Self {
        Self {
            slow: Some((id, gate)),
            ..self
        }
    }
}

/// Inserts one effect.
pub(crate) async fn insert(tx: &mut PgConnection, schema: &str, handler: &str, id: &str) {
    let sql = format!("insert into \"{schema}\".effect values ($1, $2)");
    sqlx::query(AssertSqlSafe(sql))
        .bind(handler)
        .bind(id)
        .execute(tx)
        .await
        .expect("an effect");
}

#[async_trait]
impl TxHandler<PgConnection> for Effect {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        insert(tx, &self.schema, self.handler, message.id().as_str()).await;
        self.started.send_modify(|count| *count += 1);
        match &self.slow {
            None => tokio::time::sleep(self.pause).await,
            Some((slow, gate)) if *slow == message.id().as_str() => {
                tokio::time::sleep(self.pause).await;
                gate.clone().wait_for(|open| *open).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}
