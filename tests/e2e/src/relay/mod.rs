//! The relay: publishes to a log or a real broker, and does wrong what it is told to.
//!
//! It prints `READY` when it owns partitions, `SENT n` and `REPORTED n` when it stands where it is to
//! be killed.

mod broker;
mod cli;
mod publisher;

use std::{future::Future, sync::Arc};

use anyhow::Result;
use iobox::{
    Relay,
    dispatch::RetryPolicy,
    nats::{self, JetStreamPublisher},
    postgres::{self, PostgresStore},
    publisher::Publisher,
    redis::{self, RedisPublisher},
    relay::RelayBuilder,
    sqlite::{self, SqliteStore},
};

pub(crate) use self::cli::Args;
use self::{broker::BrokerPublisher, publisher::LogPublisher};
use crate::{
    gauge::Gauge,
    log::Log,
    place::{Broker, Database},
    say,
};

/// Runs it until `shutdown` completes.
pub(crate) async fn run(args: &Args, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    let relay = set(builder(args, publisher(args)?).await?, args)?.build()?;
    let mut health = relay.health();
    tokio::spawn(async move {
        if health.wait_until(|report| report.partitions > 0).await {
            say("READY");
        }
    });
    relay.run(shutdown).await?;
    Ok(())
}

fn publisher(args: &Args) -> Result<Arc<dyn Publisher>> {
    let log = Log::open(&args.log, &args.run)?;
    let gauge = Gauge::open(args.gauge.as_deref())?;
    let hold_after = args.faults.hold_after;
    // Below the relay's own, whose reason says less.
    let timeout = args.publish_timeout() * 3 / 4;
    Ok(match args.places.broker()? {
        Broker::Log => Arc::new(LogPublisher::new(log, args.faults.clone())),
        Broker::JetStream { url, stream } => {
            let config = nats::Config::builder(url, stream)
                .prefix(stream)
                .ack_timeout(timeout)
                .build()?;
            let inner = JetStreamPublisher::new(config);
            Arc::new(BrokerPublisher::new(inner, log, gauge, hold_after))
        }
        Broker::Redis { url, prefix } => {
            let config = redis::Config::builder(url)
                .prefix(prefix)
                .response_timeout(timeout)
                .allow_volatile(args.volatile)
                .build()?;
            let inner = RedisPublisher::new(config);
            Arc::new(BrokerPublisher::new(inner, log, gauge, hold_after))
        }
    })
}

async fn builder(args: &Args, publisher: Arc<dyn Publisher>) -> Result<RelayBuilder> {
    match args.places.database()? {
        Database::Postgres { url, schema } => {
            let config = postgres::Config::builder()
                .schema(schema)
                .idle_in_transaction_timeout(args.ttl())
                .build()?;
            let store = PostgresStore::connect_url(url, config).await?;
            Ok(Relay::builder::<PostgresStore, _>(store, publisher))
        }
        Database::Sqlite { file } => {
            let store = SqliteStore::open(sqlite::Config::new(file))?;
            Ok(Relay::builder::<SqliteStore, _>(store, publisher))
        }
    }
}

fn set(builder: RelayBuilder, args: &Args) -> Result<RelayBuilder> {
    let retry = RetryPolicy::new(args.retry_base(), args.retry_base() * 10, 20)?;
    Ok(builder
        .batch(args.batch)
        .max_in_flight(args.max_in_flight)
        .time_to_live(args.ttl())
        // Both fit into three fifths of a lease.
        .publish_timeout(args.publish_timeout())
        .settle_timeout(args.ttl() / 5)
        .max_crashes(args.max_crashes)
        .grace(args.grace())
        .retry(retry))
}
