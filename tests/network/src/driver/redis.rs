//! A stream in Redis.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox::{
    inbox::SourceName,
    redis::{Config, RedisPublisher, RedisSource},
};
use iobox_testkit::servers::{self, unique_schema};
use redis::{AsyncConnectionConfig, FromRedisValue as _, Value, aio::MultiplexedConnection};
use tokio::task::spawn_blocking;

use super::{
    brokered::Place,
    pace::{ANSWER, CONNECT},
};
use crate::{ledger::Accepted, load::TOPIC};

/// How long the server may take to tell this test what it holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream, with a prefix of its own.
#[derive(Debug)]
pub struct Redis {
    prefix: String,
    server: Arc<servers::Redis>,
}

impl Redis {
    fn config(&self, at: SocketAddr) -> Config {
        let config = Config::builder(format!("redis://{at}"))
            .prefix(&self.prefix)
            .response_timeout(ANSWER)
            .connect_timeout(CONNECT);
        config.build().expect("a configuration")
    }

    /// One that waits for an answer: by default a client gives up after half a second.
    async fn client(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.server.url()).expect("a URL");
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = client.get_multiplexed_async_connection_with_config(&patient);
        client.await.expect("a connection")
    }

    fn stream(&self) -> String {
        format!("{}{TOPIC}", self.prefix)
    }
}

#[async_trait]
impl Place for Redis {
    type Publisher = RedisPublisher;
    type Source = RedisSource;

    const ABSORBS: bool = false;

    async fn fresh() -> Self {
        let server = spawn_blocking(servers::Redis::shared).await;
        let server = server.expect("no panic").expect("a server");
        let prefix = format!("{}:", unique_schema("network"));
        Self { prefix, server }
    }

    fn address(&self) -> SocketAddr {
        let (_, address) = self.server.url().split_once("//").expect("a URL");
        address.trim_end_matches('/').parse().expect("an address")
    }

    fn publisher(&self, at: SocketAddr) -> RedisPublisher {
        RedisPublisher::new(self.config(at))
    }

    fn source(&self, at: SocketAddr) -> RedisSource {
        let name = SourceName::new("network").expect("a name");
        let source = RedisSource::builder(self.config(at), name).topic(TOPIC);
        source.build().expect("a source")
    }

    async fn log(&self) -> Vec<Accepted> {
        let mut client = self.client().await;
        let mut command = redis::cmd("XRANGE");
        command.arg(self.stream()).arg(&["-", "+"]);
        let reply: Value = command.query_async(&mut client).await.expect("entries");
        let entries = Vec::<(String, Vec<String>)>::from_redis_value(reply).expect("entries");
        let read = |(_, texts): (String, Vec<String>)| {
            let (pairs, _) = texts.as_chunks::<2>();
            let field = |name: &str| {
                let found = pairs.iter().find(|[field, _]| field == name);
                found.map(|[_, value]| value.clone())
            };
            let id = field("id").expect("an id");
            let (_, id) = id.split_once('/').expect("an origin and an id");
            Accepted {
                id: id.to_owned(),
                key: field("key"),
            }
        };
        entries.into_iter().map(read).collect()
    }

    async fn remove(self) {
        let mut client = self.client().await;
        let mut command = redis::cmd("DEL");
        let removed: redis::RedisResult<()> =
            command.arg(self.stream()).query_async(&mut client).await;
        removed.expect("no stream is left");
    }
}
