//! Brokers: servers of a test's own, and readers of their streams that are not ours.

use std::{collections::HashMap, net::SocketAddr, pin::pin, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::{Config as StreamConfig, RetentionPolicy},
};
use futures_util::StreamExt as _;
use iobox::nats::wire;
use iobox_testkit::servers::{Nats, Redis, RedisBuilder, Server};
use redis::{AsyncConnectionConfig, FromRedisValue as _, Value, aio::MultiplexedConnection};
use tokio::task::spawn_blocking;

use super::{LONG, checker::Accepted};

/// The stream in JetStream, and what its subjects start with.
const STREAM: &str = "e2e";
/// What the streams in Redis start with.
const PREFIX: &str = "e2e:";
/// The topics that the writers use; each is a stream in Redis.
const TOPICS: [&str; 2] = ["accounts.moved", "accounts.seen"];
/// Longer than any test takes, so that every copy is absorbed.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(3_600);
/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// An entry of a stream in Redis: its id, and fields and values in turn.
type Entry = (String, Vec<String>);

/// A broker that belongs to one test, which may stop, kill and start it.
#[derive(Debug)]
pub(crate) enum Broker {
    JetStream(Nats),
    Redis(Redis),
}

impl Broker {
    /// A NATS with an empty stream.
    pub(crate) async fn jetstream() -> Self {
        Self::jetstream_with(RetentionPolicy::Limits).await
    }

    /// A NATS with an empty stream that keeps entries for as long as `retention` says.
    pub(crate) async fn jetstream_with(retention: RetentionPolicy) -> Self {
        let server = spawn_blocking(Nats::private).await.expect("no panic");
        let server = server.expect("a server of its own");
        let client = async_nats::connect(server.url()).await.expect("open");
        let config = StreamConfig {
            name: STREAM.to_owned(),
            subjects: vec![format!("{STREAM}.>")],
            duplicate_window: DUPLICATE_WINDOW,
            retention,
            ..StreamConfig::default()
        };
        let made = jetstream::new(client).create_stream(config).await;
        made.expect("a stream");
        Self::JetStream(server)
    }

    /// A Redis whose append-only file has every entry before it is confirmed.
    ///
    /// With `everysec` a process that is killed may take along what it confirmed while its disk was
    /// too slow, which this machine may well be during the tests.
    pub(crate) async fn redis() -> Self {
        Self::redis_with(&["appendfsync always".to_owned()]).await
    }

    /// A Redis with these lines of configuration behind ours.
    pub(crate) async fn redis_with(settings: &[String]) -> Self {
        let add = |builder: RedisBuilder, line: &String| builder.setting(line);
        let builder = settings.iter().fold(Redis::builder(), add);
        let server = spawn_blocking(|| builder.private()).await;
        Self::Redis(server.expect("no panic").expect("a server of its own"))
    }

    /// Whether it keeps one copy of a message that is sent twice.
    pub(crate) const fn absorbs_copies(&self) -> bool {
        matches!(self, Self::JetStream(_))
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        match self {
            Self::JetStream(server) => server,
            Self::Redis(server) => server,
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::JetStream(server) => server.url(),
            Self::Redis(server) => server.url(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.url().split_once("://").expect("a URL");
        address.parse().expect("an address")
    }

    /// Those arguments of a process that name it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.arguments_at(self.address())
    }

    /// Those arguments, with what hands on to it at another address.
    pub(crate) fn arguments_at(&self, address: SocketAddr) -> Vec<String> {
        let (scheme, _) = self.url().split_once("://").expect("a URL");
        let url = format!("{scheme}://{address}");
        let parts = match self {
            Self::JetStream(_) => ["--nats", &url, "--stream", STREAM],
            Self::Redis(_) => ["--redis", &url, "--prefix", PREFIX],
        };
        parts.map(str::to_owned).to_vec()
    }

    /// What its streams hold, each in its order.
    pub(crate) async fn accepted(&self) -> Vec<Accepted> {
        match self {
            Self::JetStream(server) => read_jetstream(server.url()).await,
            Self::Redis(server) => {
                let mut client = connect_redis(server.url()).await;
                let mut all = Vec::new();
                for topic in TOPICS {
                    all.extend(read_redis(&mut client, &format!("{PREFIX}{topic}")).await);
                }
                all
            }
        }
    }

    /// Whether the stored position of a source is that of the last entry of each stream.
    pub(crate) async fn ends_at(&self, position: &str) -> bool {
        match self {
            Self::JetStream(server) => {
                let state = stream(server.url()).await.cached_info().state.clone();
                position.split('/').nth(1) == Some(state.last_sequence.to_string().as_str())
            }
            Self::Redis(server) => {
                let mut client = connect_redis(server.url()).await;
                for topic in TOPICS {
                    let stream = format!("{PREFIX}{topic}");
                    let mut command = redis::cmd("XREVRANGE");
                    command.arg(&stream).arg(&["+", "-", "COUNT", "1"]);
                    let last: Value = command.query_async(&mut client).await.expect("an entry");
                    let last = Vec::<Entry>::from_redis_value(last).expect("entries");
                    let mut places = position.split(' ');
                    let is_last = |id: &str| {
                        places.any(|place| {
                            place.starts_with(&format!("{id}/"))
                                && place.ends_with(&format!("/{stream}"))
                        })
                    };
                    if !last.first().map(|(id, _)| id.as_str()).is_none_or(is_last) {
                        return false;
                    }
                }
                true
            }
        }
    }

    /// What it keeps for readers.
    pub(crate) async fn keeps(&self) -> Kept {
        match self {
            Self::JetStream(server) => {
                let stream = stream(server.url()).await;
                let info = stream.cached_info();
                let retention = info.config.retention;
                let removes = retention != RetentionPolicy::Limits;
                Kept {
                    readers: info.state.consumer_count,
                    entries: removes.then_some(info.state.messages),
                }
            }
            Self::Redis(server) => {
                let mut client = connect_redis(server.url()).await;
                let mut command = redis::cmd("XINFO");
                command.arg("GROUPS").arg(format!("{PREFIX}{}", TOPICS[0]));
                let groups: Vec<HashMap<String, Value>> =
                    command.query_async(&mut client).await.expect("groups");
                let pending = groups.iter().map(|group| match &group["pending"] {
                    Value::Int(count) => u64::try_from(*count).expect("a count"),
                    other => panic!("no count: {other:?}"),
                });
                Kept {
                    readers: groups.len(),
                    entries: Some(pending.sum()),
                }
            }
        }
    }
}

/// What a broker keeps for readers.
#[derive(Debug)]
pub(crate) struct Kept {
    /// How many consumers or groups.
    pub(crate) readers: usize,
    /// How many entries, where they outlive a reader.
    pub(crate) entries: Option<u64>,
}

async fn stream(url: &str) -> jetstream::stream::Stream {
    let client = async_nats::connect(url).await.expect("a connection");
    let stream = jetstream::new(client).get_stream(STREAM).await;
    stream.expect("a stream")
}

/// One that waits for an answer: by default a client gives up after half a second.
async fn connect_redis(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LONG))
        .set_response_timeout(Some(LONG));
    let client = client.get_multiplexed_async_connection_with_config(&patient);
    client.await.expect("a connection")
}

async fn read_jetstream(url: &str) -> Vec<Accepted> {
    let stream = stream(url).await;
    let count = usize::try_from(stream.cached_info().state.messages).expect("a count");
    if count == 0 {
        return Vec::new();
    }
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let messages = consumer
        .stream()
        .max_messages_per_batch(PAGE)
        .expires(Duration::from_secs(30))
        .messages()
        .await;
    let mut messages = pin!(messages.expect("messages").take(count));
    let mut all = Vec::with_capacity(count);
    while let Some(message) = messages.next().await {
        let message = message.expect("a message");
        let headers = message.headers.as_ref().expect("headers");
        let text = |name: &str| {
            let value = headers.get(name)?.as_str();
            Some(wire::decode(value).expect("UTF-8").into_owned())
        };
        all.push(accepted(&text(wire::ID).expect("an id"), text(wire::KEY)));
    }
    assert_eq!(all.len(), count);
    all
}

async fn read_redis(client: &mut MultiplexedConnection, stream: &str) -> Vec<Accepted> {
    let mut all = Vec::new();
    let mut start = "-".to_owned();
    loop {
        let mut command = redis::cmd("XRANGE");
        command.arg(stream).arg(&start).arg("+");
        command.arg("COUNT").arg(PAGE);
        let reply: Value = command.query_async(client).await.expect("a page");
        let page = Vec::<Entry>::from_redis_value(reply).expect("entries");
        let is_last = page.len() < PAGE;
        for (entry, texts) in page {
            start = format!("({entry}");
            let (pairs, _) = texts.as_chunks::<2>();
            let field = |name: &str| {
                let found = pairs.iter().find(|[field, _]| field == name);
                found.map(|[_, value]| value.clone())
            };
            all.push(accepted(&field("id").expect("an id"), field("key")));
        }
        if is_last {
            return all;
        }
    }
}

fn accepted(wire_id: &str, key: Option<String>) -> Accepted {
    let (_, id) = wire_id.split_once('/').expect("an origin and an id");
    Accepted {
        id: id.to_owned(),
        key,
        run: "-".to_owned(),
    }
}
