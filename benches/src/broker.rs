//! The broker: a place on a real one, and the least that publishing to it takes.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use clap::ValueEnum;
use iobox::publisher::Publisher;

use crate::redis;

/// How many raw messages are on their way at a time.
pub(crate) const IN_FLIGHT: usize = 1_000;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broker {
    /// Redis Streams, against pipelined XADD.
    Redis,
}

impl Broker {
    /// A new, empty place on it.
    pub(crate) async fn place(self) -> Result<Box<dyn Place>> {
        match self {
            Self::Redis => Ok(Box::new(redis::Streams::create().await?)),
        }
    }
}

/// A place on a broker, for one measurement.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// A publisher to it, as an application would have one.
    fn publisher(&self) -> Result<Arc<dyn Publisher>>;

    /// How many messages it holds.
    async fn count(&self) -> Result<usize>;

    /// Publishes `messages` of `payload` bytes without iobox, [`IN_FLIGHT`] at a time, each with what
    /// a message of iobox holds. Returns how long it took.
    async fn raw(&self, messages: usize, payload: usize) -> Result<Duration>;

    /// What the raw messages are, for the table.
    fn raw_name(&self) -> &'static str;

    /// The server and what it is set to, for the table.
    async fn describe(&self) -> Result<String>;

    /// Removes the place.
    async fn remove(&self) -> Result<()>;
}
