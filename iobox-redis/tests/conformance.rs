//! The conformance suite, run against the Redis publisher and a real server.

#[path = "redis/support/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Limits, Topic},
    publisher::Durability,
};
use iobox_redis::{Config, RedisPublisher};
use iobox_testkit::{
    broker::{Harness, Stored},
    servers::{Cable, Redis, unique_schema},
};
use support::Reader;

struct Streams {
    publisher: Arc<RedisPublisher>,
    config: Config,
    prefix: String,
    reader: Reader,
    cable: Cable,
    _server: Arc<Redis>,
}

#[async_trait]
impl Harness for Streams {
    type Publisher = RedisPublisher;

    const DURABILITY: Durability = Durability::PageCache;
    const ABSORBS_DUPLICATES: bool = false;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = Some(Limits::PAYLOAD_MAX + 1);
    const REFUSES_TOPICS: bool = true;
    const CAN_BE_CUT: bool = true;

    async fn fresh() -> Self {
        let server = tokio::task::spawn_blocking(Redis::shared)
            .await
            .expect("no panic")
            .expect("a Redis");
        let reader = Reader::open(server.url()).await.expect("a reader");
        let cable = Cable::to(support::address(server.url()))
            .await
            .expect("a cable");
        let prefix = format!("{}:", unique_schema("suite"));
        let config = Config::builder(format!("redis://{}", cable.address()))
            .prefix(&prefix)
            .build()
            .expect("a configuration");
        Self {
            publisher: Arc::new(RedisPublisher::new(&config).expect("a publisher")),
            config,
            prefix,
            reader,
            cable,
            _server: server,
        }
    }

    fn publisher(&self) -> &Arc<RedisPublisher> {
        &self.publisher
    }

    async fn another(&self) -> Result<Arc<RedisPublisher>> {
        Ok(Arc::new(RedisPublisher::new(&self.config)?))
    }

    async fn stored(&self) -> Vec<Stored> {
        self.reader.stored(&self.prefix).await.expect("streams")
    }

    async fn refuse(&self, topic: &Topic) {
        let key = format!("{}{topic}", self.prefix);
        self.reader
            .ask(&["SET", &key, "a string"])
            .await
            .expect("SET");
    }

    async fn mute(&self) {
        self.cable.mute();
    }

    async fn cut(&self) {
        self.cable.cut().await;
    }

    async fn mend(&self) {
        self.cable.mend();
    }
}

iobox_testkit::broker_suite!(Streams);
