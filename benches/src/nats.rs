//! JetStream: a stream made for a benchmark, and the raw publish that a relay is measured by.

use std::{
    env,
    future::IntoFuture as _,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use async_nats::{
    HeaderMap,
    jetstream::{
        context::{Context, ContextBuilder},
        message::PublishMessage,
        stream::Config as StreamConfig,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use iobox::{
    nats::{Config, JetStreamPublisher, wire},
    publisher::Publisher,
};
use tokio::time::sleep;

use crate::broker::{Done, Place, RAW_IN_FLIGHT};

/// The environment variable with the URL of the server.
const URL: &str = "IOBOX_TEST_NATS_URL";
/// Stands for the origin of an outbox.
const ORIGIN: &str = "0192f0c8-0000-7000-8000-000000000000";
/// How often the stream is asked how much it holds.
const LOOK: Duration = Duration::from_millis(20);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One stream in files.
pub(crate) struct Nats {
    url: String,
    name: String,
    context: Context,
}

impl Nats {
    /// Makes one.
    pub(crate) async fn create() -> Result<Self> {
        let (url, context) = connect().await?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iobox_bench_{}_{number}", process::id());
        context
            .create_stream(StreamConfig {
                name: name.clone(),
                subjects: vec![format!("{name}.>")],
                ..StreamConfig::default()
            })
            .await
            .context("making a stream")?;
        Ok(Self { url, name, context })
    }
}

#[async_trait]
impl Place for Nats {
    fn publisher(&self) -> Result<Arc<dyn Publisher>> {
        let config = Config::builder(&self.url, &self.name).prefix(&self.name);
        Ok(Arc::new(JetStreamPublisher::new(config.build()?)))
    }

    fn holds(&self, count: usize) -> Done {
        let (context, name) = (self.context.clone(), self.name.clone());
        Box::pin(async move {
            loop {
                let held = context.get_stream(&name).await;
                let held = held.map(|stream| stream.cached_info().state.messages);
                if held.is_ok_and(|held| usize::try_from(held).is_ok_and(|held| held >= count)) {
                    return;
                }
                sleep(LOOK).await;
            }
        })
    }

    async fn publish_raw(&self, messages: usize, keys: usize, payload: usize) -> Result<Duration> {
        let payload = Bytes::from(vec![b'x'; payload]);
        let subject = format!("{}.bench.message", self.name);
        let mut acks = FuturesUnordered::new();
        let start = Instant::now();
        for number in 0..messages {
            let id = format!("{ORIGIN}/0192f0c8-0000-7000-8000-{number:012}");
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (wire::MESSAGE_ID, id.as_str()),
                (wire::ID, id.as_str()),
                (wire::KEY, &format!("key-{}", number % keys)),
            ] {
                let name: async_nats::HeaderName = name.parse()?;
                let value: async_nats::HeaderValue = value.parse()?;
                headers.insert(name, value);
            }
            let message = PublishMessage::build()
                .payload(payload.clone())
                .headers(headers);
            let ack = self.context.send_publish(subject.clone(), message).await?;
            acks.push(ack.into_future());
            if acks.len() >= RAW_IN_FLIGHT {
                acks.next().await.context("an acknowledgement")??;
            }
        }
        while let Some(ack) = acks.next().await {
            ack?;
        }
        let took = start.elapsed();
        let held = self.context.get_stream(&self.name).await?;
        let held = held.cached_info().state.messages;
        ensure!(
            usize::try_from(held)? == messages,
            "the stream holds {held} of {messages} messages"
        );
        Ok(took)
    }

    async fn remove(&self) -> Result<()> {
        self.context.delete_stream(&self.name).await?;
        Ok(())
    }

    async fn describe(&self) -> Result<String> {
        let version = self.context.client().server_info().version;
        Ok(format!("NATS {version}, a stream in files, 1 replica"))
    }
}

async fn connect() -> Result<(String, Context)> {
    let url = env::var(URL).with_context(|| {
        format!("{URL} names no NATS; `cargo xtask bench` starts one and sets it")
    })?;
    let client = async_nats::connect(&url)
        .await
        .with_context(|| format!("connecting to the server that {URL} names"))?;
    let context = ContextBuilder::new()
        .max_ack_inflight(2 * RAW_IN_FLIGHT)
        .build(client);
    Ok((url, context))
}
