//! The conformance suite, run against the Redis publisher and a real server: as its administrator,
//! and as a user that may do no more than the crate's page says.

#[path = "redis/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    clippy::disallowed_methods,
    reason = "the other tests use the rest"
)]
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

/// The rights that the crate's page names, for a prefix.
fn rights(prefix: &str) -> String {
    format!("~{prefix}* +xadd +info +role +config|get")
}

/// A place on the shared server; `FEW` when its user has few rights.
struct Streams<const FEW: bool> {
    publisher: Arc<RedisPublisher>,
    config: Config,
    prefix: String,
    reader: Reader,
    cable: Cable,
    _server: Arc<Redis>,
}

/// The shared server; one of its own where users are made and the shared one is somebody else's.
fn server(few: bool) -> anyhow::Result<Arc<Redis>> {
    let shared = Redis::shared()?;
    if few && !shared.is_private() {
        return Ok(Arc::new(Redis::private()?));
    }
    Ok(shared)
}

#[async_trait]
impl<const FEW: bool> Harness for Streams<FEW> {
    type Publisher = RedisPublisher;

    const DURABILITY: Durability = Durability::PageCache;
    const ABSORBS_DUPLICATES: bool = false;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = Some(Limits::PAYLOAD_MAX + 1);
    const REFUSES_TOPICS: bool = true;
    const CAN_BE_CUT: bool = true;

    async fn fresh() -> Self {
        let server = tokio::task::spawn_blocking(|| server(FEW))
            .await
            .expect("no panic")
            .expect("a Redis");
        let reader = Reader::open(server.url()).await.expect("a reader");
        let cable = Cable::to(support::address(server.url()))
            .await
            .expect("a cable");
        let name = unique_schema("suite");
        let prefix = format!("{name}:");
        let mut url = format!("redis://{}", cable.address());
        if FEW {
            let login = format!("ACL SETUSER {name} on >few {}", rights(&prefix));
            let login: Vec<&str> = login.split(' ').collect();
            reader.ask(&login).await.expect("a user with few rights");
            url = format!("redis://{name}:few@{}", cable.address());
        }
        let config = Config::builder(url)
            .prefix(&prefix)
            .build()
            .expect("a configuration");
        Self {
            publisher: Arc::new(RedisPublisher::new(config.clone())),
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
        Ok(Arc::new(RedisPublisher::new(self.config.clone())))
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

mod administrator {
    use super::*;

    iobox_testkit::broker_suite!(Streams<false>);
}

mod few_rights {
    use super::*;

    iobox_testkit::broker_suite!(Streams<true>);
}
