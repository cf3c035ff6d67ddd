//! The source as a whole: what it is set to, and opening it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::SourceName,
    source::{Order, Reader, Source, Start},
};

use super::{
    RedisSourceBuilder,
    arrival::{Foreign, Reading},
    consumer::Consumers,
    line::Line,
    ordered::OrderedReader,
    probe,
    stream::Stream,
    unordered::UnorderedReader,
};
use crate::{Config, connection::Connector};

/// Reads the streams of one or more topics into an inbox. Clones are the same source.
///
/// Each reader has a connection of its own, made when it is opened. What a source promises and what
/// it cannot know stands on [the page of the crate](crate#reading).
#[derive(Clone)]
pub struct RedisSource(Arc<Settings>);

/// What a source is set to.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) connector: Connector,
    pub(super) name: SourceName,
    pub(super) streams: Vec<Stream>,
    pub(super) order: Order,
    pub(super) claim_after: Duration,
    pub(super) foreign: Foreign,
    pub(super) consumers: Arc<Consumers>,
}

impl RedisSource {
    /// The default of [`claim_after`](RedisSourceBuilder::claim_after).
    pub const CLAIM_AFTER: Duration = Duration::from_secs(60);

    /// Starts a source `name` at the server of `config`, from which it takes address, credentials,
    /// timeouts and the prefix.
    ///
    /// Messages are known by the name, and the consumer group of the source has it; it must stay the
    /// same.
    pub fn builder(config: Config, name: SourceName) -> RedisSourceBuilder {
        RedisSourceBuilder::new(config, name)
    }

    pub(super) fn from_settings(settings: Settings) -> Self {
        Self(Arc::new(settings))
    }
}

#[async_trait]
impl Source for RedisSource {
    fn name(&self) -> &SourceName {
        &self.0.name
    }

    fn order(&self) -> Order {
        self.0.order
    }

    async fn probe(&self) -> Result<()> {
        let line = Line::open(&self.0.connector).await?;
        probe::probe(&self.0, &line).await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let settings = Arc::clone(&self.0);
        let reading = Reading {
            foreign: settings.foreign.clone(),
            limits: start.limits,
        };
        let position = start.position.as_ref();
        Ok(match settings.order {
            Order::Stream => Box::new(OrderedReader::open(settings, reading, position).await?),
            _ => Box::new(UnorderedReader::open(settings, reading).await?),
        })
    }
}

impl fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSource")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("streams", &self.streams)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}
