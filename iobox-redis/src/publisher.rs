//! The publisher: pipelined XADD, each outcome reported as it arrives.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use iobox_core::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::timeout;

use crate::{
    Config,
    connection::{Connection, Connector, Early},
    durability::Facts,
    error,
    wire::Wire,
};

/// The most messages of one call that are on their way at a time.
const WINDOW: usize = 1_024;
/// The most bytes of one call that are on their way at a time, beyond the first message.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// Publishes to Redis Streams, over one connection that all calls share.
///
/// It connects when it is first used, and again at most once a second. A message that the server
/// refuses leaves the others of its batch alone. Redis knows no duplicates: a message that is
/// published again after an unknown outcome may stand in its stream twice, with the same `id`.
///
/// # When a publish is dropped
///
/// Messages that wait to be written are not sent; those that were written may arrive, each whole.
/// The connection stays, and other calls on it are not disturbed.
pub struct RedisPublisher {
    wire: Wire,
    connector: Connector,
    config: Config,
}

impl RedisPublisher {
    /// A publisher to the server of `config`. It does not connect yet: a server that is away when a
    /// program starts is waited for.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            wire: Wire::new(&config),
            connector: Connector::new(&config),
            config,
        }
    }

    /// Sends messages and reports their outcomes, with no more of them on their way than fit.
    async fn send(
        &self,
        connection: &Connection,
        batch: &[Message],
        indexes: Vec<usize>,
        outcomes: &mut Outcomes,
    ) {
        let mut waiting = indexes.into_iter().peekable();
        let mut under_way = FuturesUnordered::new();
        let mut bytes = 0;
        loop {
            while under_way.len() < WINDOW
                && connection.is_alive()
                && let Some(index) = waiting
                    .next_if(|index| bytes == 0 || bytes + batch[*index].size() <= WINDOW_BYTES)
            {
                let size = batch[index].size();
                bytes += size;
                let command = self.wire.add(&batch[index]);
                under_way.push(async move {
                    let reply = ask(connection, &command).await;
                    (index, size, reply)
                });
            }
            match timeout(self.config.response_timeout, under_way.next()).await {
                Ok(Some((index, size, reply))) => {
                    bytes -= size;
                    outcomes.report(index, outcome_of(connection, &reply));
                }
                Ok(None) => break,
                Err(_) => {
                    connection.give_up();
                    let silence = self.config.response_timeout;
                    drop(under_way);
                    report_unsent(waiting, outcomes);
                    outcomes.close(&format!("Redis sent no reply for {silence:?}"));
                    return;
                }
            }
        }
        report_unsent(waiting, outcomes);
    }
}

#[async_trait]
impl Publisher for RedisPublisher {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let mut indexes = Vec::with_capacity(batch.len());
        for (index, message) in batch.iter().enumerate() {
            match Wire::refusal(message) {
                Some(reason) => outcomes.report(index, Err(PublishError::Permanent(reason))),
                None => indexes.push(index),
            }
        }
        if indexes.is_empty() {
            return;
        }
        match self.connector.get(Early::Fail).await {
            Ok(connection) => self.send(&connection, batch, indexes, outcomes).await,
            Err(error) => {
                for index in indexes {
                    outcomes.report(index, Err(error::not_sent(&error)));
                }
            }
        }
    }

    async fn probe(&self) -> Result<Durability> {
        let connection = self.connector.get(Early::Wait).await?;
        let facts = Facts::ask(&connection).await?;
        let durability = facts.judge(self.config.allow_volatile)?;
        // What no fact tells: rights, memory, replicas, the disk. It is not written.
        connection
            .reply(&self.wire.rehearsal(), Duration::ZERO)
            .await?
            .map_err(|refused| error::asked("Redis would refuse messages", &refused))?;
        Ok(durability)
    }
}

/// Sends a command and waits for its reply; an answer that is an error is an error.
async fn ask(connection: &Connection, command: &Cmd) -> RedisResult<Value> {
    let mut client = connection.client.clone();
    command.query_async(&mut client).await
}

/// What became of a message that was sent.
fn outcome_of(
    connection: &Connection,
    reply: &Result<Value, RedisError>,
) -> Result<Receipt, PublishError> {
    match reply {
        Ok(Value::BulkString(_) | Value::SimpleString(_)) => Ok(Receipt::new()),
        Ok(_) => {
            let reason = "the reply is not the id of an entry: is this a Redis server?";
            Err(PublishError::Unknown(reason.to_owned()))
        }
        Err(error) => {
            if error::ends_connection(error) {
                connection.give_up();
            }
            Err(error::published(error))
        }
    }
}

/// Reports messages that were never handed to the connection, since it had ended before.
fn report_unsent(waiting: impl Iterator<Item = usize>, outcomes: &mut Outcomes) {
    for index in waiting {
        let reason = "not sent: the connection to Redis has ended".to_owned();
        outcomes.report(index, Err(PublishError::Unavailable(reason)));
    }
}

impl fmt::Debug for RedisPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPublisher")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
