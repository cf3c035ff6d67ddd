//! A place on a server, and publishing to it.

use iobox_core::{
    message::{Headers, Message, MessageId, OrderingKey, Origin, Topic},
    publisher::{PublishError, Receipt},
};
use iobox_redis::{Config, ConfigBuilder, RedisPublisher};
use iobox_testkit::{
    broker::support,
    servers::{Redis, RedisBuilder, unique_schema},
};
use uuid::Uuid;

use super::Reader;

/// A private server of the caller.
pub(crate) async fn server(builder: RedisBuilder) -> Redis {
    tokio::task::spawn_blocking(|| builder.private())
        .await
        .expect("no panic")
        .expect("a private Redis")
}

/// A prefix of its own, with a reader past the publisher.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) reader: Reader,
}

impl Place {
    pub(crate) async fn on(server: &Redis) -> Self {
        Self {
            url: server.url().to_owned(),
            prefix: format!("{}:", unique_schema("place")),
            reader: Reader::open(server.url()).await.expect("a reader"),
        }
    }

    pub(crate) fn config(&self) -> ConfigBuilder {
        Config::builder(&self.url).prefix(&self.prefix)
    }

    pub(crate) fn publisher(&self) -> RedisPublisher {
        made(self.config())
    }

    pub(crate) async fn ask(&self, command: &str) -> redis::Value {
        let arguments: Vec<&str> = command.split(' ').collect();
        self.reader.ask(&arguments).await.expect(command)
    }

    /// The ids in the streams of the place, stream by stream.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let stored = self.reader.stored(&self.prefix).await.expect("streams");
        stored.into_iter().map(|one| one.id).collect()
    }
}

pub(crate) fn made(config: ConfigBuilder) -> RedisPublisher {
    RedisPublisher::new(config.build().expect("a configuration"))
}

/// A message whose id is also its key and its payload.
pub(crate) fn message(topic: &str, id: &str) -> Message {
    Message::new(
        Origin::new(Uuid::from_u128(1)),
        MessageId::new(id).expect("an id"),
        Topic::new(topic).expect("a topic"),
        Some(OrderingKey::new(id).expect("a key")),
        Headers::new(),
        id.to_owned().into(),
    )
}

/// The outcome of each message: nothing when it was taken, else the error as text.
pub(crate) async fn publish(publisher: &RedisPublisher, batch: &[Message]) -> Vec<String> {
    let outcomes = support::publish(publisher, batch).await.into_iter();
    outcomes
        .map(|outcome: Result<Receipt, PublishError>| match outcome {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        })
        .collect()
}
