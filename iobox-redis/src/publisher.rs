//! The publisher: pipelined XADD in pieces, the outcomes of each reported as they arrive.

use std::{fmt, iter::Peekable, time::Duration};

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use iobox_core::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use redis::{Pipeline, RedisError, RedisResult, Value};
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
/// The most messages that are written in one piece and answered together.
const GROUP: usize = 32;
/// The most bytes of a group of more than one message.
const GROUP_BYTES: usize = 32 * 1024;

/// Publishes to Redis Streams, over one connection that all calls share.
///
/// It connects when it is first used, and again at most once a second. A message that the server
/// refuses leaves the others of its batch alone. Redis knows no duplicates: a message that is
/// published again after an unknown outcome may stand in its stream twice, with the same `id`.
///
/// Up to 32 messages of together 32 KiB are written in one piece. Each has a reply of its own; where the
/// connection ends before the last reply of a piece, the outcome of all its messages is unknown.
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
    ///
    /// A few go in one piece, so that a piece and not each message costs a task its wake-up. The
    /// server answers each of them; where the connection ends in between, the whole piece is unknown.
    async fn send(
        &self,
        connection: &Connection,
        batch: &[Message],
        indexes: Vec<usize>,
        outcomes: &mut Outcomes,
    ) {
        let mut waiting = indexes.into_iter().peekable();
        let mut under_way = FuturesUnordered::new();
        let (mut count, mut bytes) = (0, 0);
        loop {
            while count < WINDOW && connection.is_alive() {
                let room = WINDOW_BYTES.saturating_sub(bytes);
                let group = self.group(batch, &mut waiting, (WINDOW - count, room), bytes == 0);
                if group.indexes.is_empty() {
                    break;
                }
                count += group.indexes.len();
                bytes += group.bytes;
                under_way.push(async move {
                    let replies = ask(connection, &group.commands).await;
                    (group, replies)
                });
            }
            match timeout(self.config.response_timeout, under_way.next()).await {
                Ok(Some((group, replies))) => {
                    count -= group.indexes.len();
                    bytes -= group.bytes;
                    report(connection, &group.indexes, replies, outcomes);
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

    /// Takes the next messages that go in one piece: at most so many and as many as fit into so many
    /// bytes, and with `any`, since nothing is under way, the first in any case.
    fn group(
        &self,
        batch: &[Message],
        waiting: &mut Peekable<impl Iterator<Item = usize>>,
        (most, room): (usize, usize),
        any: bool,
    ) -> Group {
        let mut group = Group::default();
        group.commands.ignore_errors();
        while group.indexes.len() < most.min(GROUP)
            && let Some(index) = waiting.next_if(|index| {
                let bytes = group.bytes + batch[*index].size();
                let first = group.indexes.is_empty();
                (bytes <= room || (first && any)) && (bytes <= GROUP_BYTES || first)
            })
        {
            group.bytes += batch[index].size();
            group.commands.add_command(self.wire.add(&batch[index]));
            group.indexes.push(index);
        }
        group
    }
}

/// Messages that are written in one piece.
#[derive(Default)]
struct Group {
    /// Their places in the batch.
    indexes: Vec<usize>,
    bytes: usize,
    commands: Pipeline,
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

/// Sends commands in one piece and waits for their replies, one for each.
async fn ask(connection: &Connection, commands: &Pipeline) -> RedisResult<Vec<Value>> {
    let mut client = connection.client.clone();
    commands.query_async(&mut client).await
}

/// Reports what became of the messages of a group, each by its own reply.
fn report(
    connection: &Connection,
    indexes: &[usize],
    replies: RedisResult<Vec<Value>>,
    outcomes: &mut Outcomes,
) {
    match replies {
        Ok(replies) if replies.len() == indexes.len() => {
            for (index, reply) in indexes.iter().zip(replies) {
                outcomes.report(*index, outcome_of(connection, reply));
            }
        }
        Ok(replies) => {
            let (got, sent) = (replies.len(), indexes.len());
            connection.give_up();
            for index in indexes {
                let reason =
                    format!("{got} replies came to {sent} messages: is this a Redis server?");
                outcomes.report(*index, Err(PublishError::Unknown(reason)));
            }
        }
        Err(error) => {
            for index in indexes {
                outcomes.report(*index, Err(failed(connection, &error)));
            }
        }
    }
}

/// What the reply to a message tells of it.
fn outcome_of(connection: &Connection, reply: Value) -> Result<Receipt, PublishError> {
    match reply {
        Value::BulkString(_) | Value::SimpleString(_) => Ok(Receipt::new()),
        Value::ServerError(refused) => Err(failed(connection, &refused.into())),
        _ => {
            let reason = "the reply is not the id of an entry: is this a Redis server?";
            Err(PublishError::Unknown(reason.to_owned()))
        }
    }
}

fn failed(connection: &Connection, error: &RedisError) -> PublishError {
    if error::ends_connection(error) {
        connection.give_up();
    }
    error::published(error)
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
