//! Redis: a stream for one measurement, and XADD without a client library.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use iobox::{
    publisher::Publisher,
    redis::{Config, RedisPublisher},
};
use redis::{Client, aio::MultiplexedConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

use crate::broker::{IN_FLIGHT, Place};

/// The environment variable with the URL of the server.
const URL: &str = "IOBOX_TEST_REDIS_URL";
/// The topic of the messages of benchmarks.
const TOPIC: &str = "bench.message";
/// The settings that the table names.
const SETTINGS: [&str; 2] = ["appendonly", "appendfsync"];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Streams under a prefix of their own.
pub(crate) struct Streams {
    url: String,
    prefix: String,
    client: MultiplexedConnection,
}

impl Streams {
    pub(crate) async fn create() -> Result<Self> {
        let url = env::var(URL).with_context(|| {
            format!("{URL} names no Redis; `cargo xtask bench` starts one and sets it")
        })?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let settings = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = Client::open(url.as_str())
            .with_context(|| format!("{URL} cannot be read"))?
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .context("connecting")?;
        Ok(Self {
            url,
            prefix: format!("iobox-bench-{}-{number}:", process::id()),
            client,
        })
    }

    fn stream(&self) -> String {
        format!("{}{TOPIC}", self.prefix)
    }

    async fn ask<T: redis::FromRedisValue>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = redis::Cmd::new();
        command.arg(arguments);
        Ok(command.query_async(&mut self.client.clone()).await?)
    }
}

#[async_trait]
impl Place for Streams {
    fn publisher(&self) -> Result<Arc<dyn Publisher>> {
        let config = Config::builder(&self.url).prefix(&self.prefix);
        Ok(Arc::new(RedisPublisher::new(config.build()?)))
    }

    async fn count(&self) -> Result<usize> {
        self.ask(&["XLEN", &self.stream()]).await
    }

    async fn raw(&self, messages: usize, payload: usize) -> Result<Duration> {
        let command = command(&self.stream(), payload);
        let client = Client::open(self.url.as_str())?;
        let redis::ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else {
            bail!("{URL} must name a server in plain TCP without a login");
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let (mut replies, mut requests) = stream.into_split();
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let start = Instant::now();
        let freed = Arc::clone(&room);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let mut left = messages;
            let mut lines = 0;
            while left > 0 {
                let count = replies.read(&mut buffer).await?;
                anyhow::ensure!(count > 0, "the server closed the connection");
                let got = &buffer[..count];
                anyhow::ensure!(!got.starts_with(b"-"), "the server refuses an entry");
                // A reply has two lines: the length of the id, and the id.
                lines += got.iter().filter(|byte| **byte == b'\n').count();
                left -= lines / 2;
                freed.add_permits(lines / 2);
                lines %= 2;
            }
            Ok(())
        });
        let mut left = messages;
        let mut bytes = Vec::new();
        while left > 0 {
            room.acquire().await?.forget();
            let mut count = 1;
            while count < left
                && let Ok(permit) = room.try_acquire()
            {
                permit.forget();
                count += 1;
            }
            bytes.clear();
            for _ in 0..count {
                bytes.extend_from_slice(&command);
            }
            requests.write_all(&bytes).await?;
            left -= count;
        }
        reading.await??;
        Ok(start.elapsed())
    }

    fn raw_name(&self) -> &'static str {
        "raw XADD"
    }

    async fn describe(&self) -> Result<String> {
        let info: String = self.ask(&["INFO", "server"]).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let mut text = match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "unknown".to_owned(),
        };
        for name in SETTINGS {
            let value: Vec<String> = self.ask(&["CONFIG", "GET", name]).await?;
            text += &format!(", {}", value.join(" "));
        }
        Ok(text)
    }

    async fn remove(&self) -> Result<()> {
        self.ask::<usize>(&["DEL", &self.stream()]).await?;
        Ok(())
    }
}

/// One XADD, with fields as long as those of a message of a benchmark.
fn command(stream: &str, payload: usize) -> Vec<u8> {
    let uuid = "0192f0c8-0000-7000-8000-000000000000";
    let id = format!("{uuid}/{uuid}");
    let body = "x".repeat(payload);
    let arguments = [
        "XADD", stream, "*", "id", &id, "topic", TOPIC, "key", "key-500", "payload", &body,
    ];
    let mut bytes = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        bytes += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    bytes.into_bytes()
}
