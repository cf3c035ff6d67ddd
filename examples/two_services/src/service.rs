//! What a service consists of: a store, a relay for what it sends, an inbox for what it gets.

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use iobox::{
    Inbox, Relay, Router,
    nats::{self, JetStreamPublisher, JetStreamSource, SourceConfig, StreamSettings},
    postgres::{self, PostgresStore},
};
use tokio::signal::unix::{SignalKind, signal};

/// How long the work of a killed service stands still.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// Where everything is.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) database: String,
    broker: String,
    /// The stream, and the beginning of the names of schemas.
    name: String,
}

impl Place {
    pub(crate) fn from_env() -> Result<Self> {
        Ok(Self {
            database: setting(["IOBOX_TEST_POSTGRES_URL", "DATABASE_URL"])?,
            broker: setting(["IOBOX_TEST_NATS_URL", "NATS_URL"])?,
            name: env::var("IOBOX_SCHEMA").unwrap_or_else(|_| String::from("two_services")),
        })
    }

    /// The schema of a service.
    pub(crate) fn schema(&self, service: &str) -> String {
        format!("{}_{service}", self.name)
    }

    /// The tables of a service, made if they are not there.
    pub(crate) async fn store(&self, service: &str) -> Result<PostgresStore> {
        let config = postgres::Config::builder().schema(self.schema(service));
        let store = PostgresStore::connect_url(&self.database, config.build()?).await?;
        store.migrate().await?;
        Ok(store)
    }
}

/// The first of these variables that is set.
fn setting(names: [&str; 2]) -> Result<String> {
    let mut values = names.iter().filter_map(|name| env::var(name).ok());
    values.next().with_context(|| format!("set {}", names[1]))
}

/// Runs a service until SIGTERM, then drains both halves: publishes what its outbox gets, and handles
/// what the others publish under `topics`.
pub(crate) async fn run(
    place: &Place,
    service: &str,
    topics: &str,
    store: PostgresStore,
    router: Router<PostgresStore>,
) -> Result<()> {
    let stream = nats::Config::builder(&place.broker, &place.name).prefix(&place.name);
    let stream = stream.create_stream(StreamSettings::new()).build()?;
    let publisher = JetStreamPublisher::new(stream);
    let relay = Relay::builder(store.clone(), publisher)
        .time_to_live(TIME_TO_LIVE)
        .publish_timeout(TIME_TO_LIVE * 4 / 10)
        .settle_timeout(TIME_TO_LIVE * 2 / 10)
        .build()?
        .spawn();

    let source = SourceConfig::builder(&place.broker, &place.name, service)
        .prefix(&place.name)
        .topics([topics])
        .build()?;
    let inbox = Inbox::builder(store, router)
        .source(JetStreamSource::new(source))
        .time_to_live(TIME_TO_LIVE)
        .build()?;
    let mut terminate = signal(SignalKind::terminate())?;
    inbox
        .run(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(relay.drain().await?)
}
