//! Redis: a stream made for a benchmark, and the raw XADD that a relay is measured by.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use iobox::{
    publisher::Publisher,
    redis::{Config, RedisPublisher},
};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, aio::MultiplexedConnection};
use tokio::time::sleep;

use crate::broker::{Done, Place, RAW_IN_FLIGHT};

/// The environment variable with the URL of the server.
const URL: &str = "IOBOX_TEST_REDIS_URL";
/// The topic of every message.
const TOPIC: &str = "bench.message";
/// Stands for the origin of an outbox.
const ORIGIN: &str = "0192f0c8-0000-7000-8000-000000000000";
/// How often the stream is asked how much it holds.
const LOOK: Duration = Duration::from_millis(20);
/// The settings that the table names.
const SETTINGS: [&str; 2] = ["appendonly", "appendfsync"];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One stream under a prefix of its own.
pub(crate) struct Redis {
    url: String,
    prefix: String,
    client: MultiplexedConnection,
}

impl Redis {
    /// Makes one.
    pub(crate) async fn create() -> Result<Self> {
        let url = env::var(URL).with_context(|| {
            format!("{URL} names no Redis; `cargo xtask bench` starts one and sets it")
        })?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let settings = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(RAW_IN_FLIGHT);
        let client = Client::open(url.as_str())
            .with_context(|| format!("{URL} cannot be read"))?
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .with_context(|| format!("connecting to the server that {URL} names"))?;
        Ok(Self {
            url,
            prefix: format!("iobox-bench-{}-{number}:", process::id()),
            client,
        })
    }

    fn stream(&self) -> String {
        format!("{}{TOPIC}", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, arguments: &[&str]) -> Result<T> {
        ask(&self.client, arguments).await
    }
}

async fn ask<T: FromRedisValue>(client: &MultiplexedConnection, arguments: &[&str]) -> Result<T> {
    let mut command = Cmd::new();
    command.arg(arguments);
    Ok(command.query_async(&mut client.clone()).await?)
}

#[async_trait]
impl Place for Redis {
    fn publisher(&self) -> Result<Arc<dyn Publisher>> {
        let config = Config::builder(&self.url).prefix(&self.prefix);
        Ok(Arc::new(RedisPublisher::new(config.build()?)))
    }

    fn holds(&self, count: usize) -> Done {
        let (client, stream) = (self.client.clone(), self.stream());
        Box::pin(async move {
            loop {
                let held = ask::<usize>(&client, &["XLEN", &stream]).await;
                if held.is_ok_and(|held| held >= count) {
                    return;
                }
                sleep(LOOK).await;
            }
        })
    }

    async fn publish_raw(&self, messages: usize, keys: usize, payload: usize) -> Result<Duration> {
        let payload = vec![b'x'; payload];
        let stream = self.stream();
        let mut replies = FuturesUnordered::new();
        let start = Instant::now();
        for number in 0..messages {
            let mut command = redis::cmd("XADD");
            command.arg(&stream).arg("*");
            let id = format!("{ORIGIN}/0192f0c8-0000-7000-8000-{number:012}");
            command.arg("id").arg(id).arg("topic").arg(TOPIC);
            command.arg("key").arg(format!("key-{}", number % keys));
            command.arg("payload").arg(&payload);
            let mut client = self.client.clone();
            replies.push(async move { command.query_async::<String>(&mut client).await });
            if replies.len() >= RAW_IN_FLIGHT {
                replies.next().await.context("a reply")??;
            }
        }
        while let Some(reply) = replies.next().await {
            reply?;
        }
        let took = start.elapsed();
        let held: usize = self.ask(&["XLEN", &stream]).await?;
        ensure!(
            held == messages,
            "the stream holds {held} of {messages} messages"
        );
        Ok(took)
    }

    async fn remove(&self) -> Result<()> {
        self.ask::<usize>(&["DEL", &self.stream()]).await?;
        Ok(())
    }

    async fn describe(&self) -> Result<String> {
        let info: String = self.ask(&["INFO", "server"]).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let mut text = match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, version) => format!("Redis {}", version.unwrap_or("of an unknown version")),
        };
        for name in SETTINGS {
            let value: Vec<String> = self.ask(&["CONFIG", "GET", name]).await?;
            text += &format!(", {}", value.join(" "));
        }
        Ok(text)
    }
}
