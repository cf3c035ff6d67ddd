//! The line: a reader's own connection, and what it asks through it.

use std::time::Duration;

use futures_util::future::join_all;
use iobox_core::{Error, Result};
use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;

use super::{command, entry, look::Look, stream::Stream};
use crate::{
    connection::{Connection, Connector, now},
    durability::Facts,
    error,
};

/// A connection that one reader uses alone, since reading blocks it.
pub(super) struct Line {
    connection: Connection,
    facts: Facts,
    /// The server's milliseconds, and when they were those.
    clock: (u64, Instant),
}

impl Line {
    /// Connects, and refuses a server that no source can work with: it may have become a replica
    /// since it was probed.
    ///
    /// # Errors
    /// As for [`Source::open`](iobox_core::source::Source::open).
    pub(super) async fn open(connector: &Connector) -> Result<Self> {
        let connection = connector.dedicated().await?;
        let facts = Facts::ask(&connection).await?;
        facts.check_use("source")?;
        let mut line = Self {
            connection,
            facts,
            clock: (0, now()),
        };
        line.set_clock().await?;
        Ok(line)
    }

    /// What the server told of itself.
    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The server's milliseconds, by the last look at its clock.
    pub(super) fn now(&self) -> u64 {
        let (ms, then) = self.clock;
        let passed = now().saturating_duration_since(then).as_millis();
        ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Looks at the server's clock.
    pub(super) async fn set_clock(&mut self) -> Result<()> {
        let told = self.ask(&command::time()).await?;
        let parts = entry::list(told)?;
        let [seconds, micros] = <[Value; 2]>::try_from(parts).map_err(|_| entry::unreadable())?;
        let number = |value| {
            let bytes = entry::text(value)?;
            let text = str::from_utf8(&bytes).map_err(|_| entry::unreadable())?;
            text.parse::<u64>().map_err(|_| entry::unreadable())
        };
        let ms = number(seconds)?.saturating_mul(1_000) + number(micros)? / 1_000;
        self.clock = (ms, now());
        Ok(())
    }

    /// The reply to a command, which is not an error.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value> {
        self.ask_and_wait(command, Duration::ZERO).await
    }

    /// The same, of a command that may block for `wait`.
    pub(super) async fn ask_and_wait(&self, command: &Cmd, wait: Duration) -> Result<Value> {
        let reply = self.connection.reply(command, wait).await?;
        reply.map_err(|refused| refusal(&refused))
    }

    /// The replies to commands that travel together.
    pub(super) async fn ask_all(
        &self,
        commands: impl IntoIterator<Item = Cmd>,
    ) -> Result<Vec<Result<Value, RedisError>>> {
        let ask = |command| async move { self.connection.reply(&command, Duration::ZERO).await };
        let replies = join_all(commands.into_iter().map(ask)).await;
        replies.into_iter().collect()
    }

    /// What the server tells of each stream, `None` of one that is not there.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) of a key that is no stream, and of one that the
    /// user may not read.
    pub(super) async fn look(
        &self,
        streams: impl Iterator<Item = &Stream> + Clone,
    ) -> Result<Vec<Option<Look>>> {
        let commands = streams.clone().map(|stream| command::info(&stream.key));
        let replies = self.ask_all(commands).await?;
        let looks = streams.zip(replies);
        looks.map(|(stream, reply)| seen(stream, reply)).collect()
    }

    /// The reply to a command that may block for `wait`, and what the server tells of each stream
    /// directly behind it. It takes no longer than the command.
    ///
    /// # Errors
    /// Those of the command; each look has its own, as for [`look`](Self::look).
    pub(super) async fn ask_and_look(
        &self,
        command: Cmd,
        wait: Duration,
        streams: &[Stream],
    ) -> Result<(Value, Vec<Result<Option<Look>>>)> {
        // In one piece: what looks must not overtake the command.
        let mut commands = Pipeline::new();
        commands.ignore_errors().add_command(command);
        for stream in streams {
            commands.add_command(command::info(&stream.key));
        }
        let replies = self.connection.replies(&commands, wait).await?;
        let mut replies = replies
            .map_err(|refused| refusal(&refused))?
            .into_iter()
            .map(|reply| match reply {
                Value::ServerError(refused) => Err(RedisError::from(refused)),
                reply => Ok(reply),
            });
        let reply = replies.next().ok_or_else(entry::unreadable)?;
        let reply = reply.map_err(|refused| refusal(&refused))?;
        let looks = streams.iter().zip(replies);
        let looks: Vec<_> = looks.map(|(stream, reply)| seen(stream, reply)).collect();
        if looks.len() != streams.len() {
            return Err(entry::unreadable());
        }
        Ok((reply, looks))
    }
}

/// What the server tells of a stream, `None` of one that is not there.
fn seen(stream: &Stream, reply: Result<Value, RedisError>) -> Result<Option<Look>> {
    match reply {
        Ok(reply) => Look::read(reply).map(Some),
        Err(refused) if is_missing(&refused) => Ok(None),
        Err(refused) if refused.code() == Some("WRONGTYPE") => Err(Error::invalid(format!(
            "the key {} holds something that is no stream: rename that, or read another topic",
            stream.key
        ))),
        Err(refused) => Err(error::read(
            &format!("the stream {} cannot be read", stream.key),
            &refused,
        )),
    }
}

/// What becomes of an error that a reader is given.
pub(super) fn refusal(refused: &RedisError) -> Error {
    error::read("Redis cannot be read", refused)
}

/// Whether the server says that a key is not there.
pub(super) fn is_missing(refused: &RedisError) -> bool {
    refused.code() == Some("ERR")
        && refused.detail().is_some_and(|detail| {
            detail.contains("no such key") || detail.contains("requires the key to exist")
        })
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("alive", &self.connection.is_alive())
            .finish_non_exhaustive()
    }
}
