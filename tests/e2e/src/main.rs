//! One relay in a process of its own, which a test kills, halts or stops.
//!
//! It tells its parent by lines on its output: `READY` when it owns partitions, `SENT n` and
//! `REPORTED n` when it stands where it is to be killed, `DRAINED ms` at its end.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the process lives on the machine's clock"
)]

mod broker;
mod cli;
mod log;
mod publisher;

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    process,
    sync::Arc,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Parser as _;
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
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    broker::BrokerPublisher,
    cli::{Args, Broker, Database},
    log::Log,
    publisher::LogPublisher,
};

/// What a process exits with whose parent is gone.
const ORPHANED: i32 = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.leash {
        thread::spawn(follow_parent);
    }
    let mut terminated = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let relay = set(builder(&args, publisher(&args)?).await?, &args)?.build()?;

    let mut health = relay.health();
    tokio::spawn(async move {
        if health.wait_until(|report| report.partitions > 0).await {
            say("READY");
        }
    });
    let (told, signalled) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        terminated.recv().await;
        // The receiver lives until the relay has ended.
        let _ = told.send(Instant::now());
    };
    relay.run(shutdown).await?;
    if let Ok(at) = signalled.await {
        say(&format!("DRAINED {}", at.elapsed().as_millis()));
    }
    Ok(())
}

fn publisher(args: &Args) -> Result<Arc<dyn Publisher>> {
    let log = Log::open(&args.log, &args.run)?;
    let hold_after = args.faults.hold_after;
    // Below the relay's own, whose reason says less.
    let timeout = args.publish_timeout() * 3 / 4;
    Ok(match args.broker()? {
        Broker::Log => Arc::new(LogPublisher::new(log, args.faults.clone())),
        Broker::JetStream { url, stream } => {
            let config = nats::Config::builder(url, stream)
                .prefix(stream)
                .ack_timeout(timeout)
                .build()?;
            let inner = JetStreamPublisher::new(config);
            Arc::new(BrokerPublisher::new(inner, log, hold_after))
        }
        Broker::Redis { url, prefix } => {
            let config = redis::Config::builder(url)
                .prefix(prefix)
                .response_timeout(timeout)
                .build()?;
            let inner = RedisPublisher::new(config);
            Arc::new(BrokerPublisher::new(inner, log, hold_after))
        }
    })
}

async fn builder(args: &Args, publisher: Arc<dyn Publisher>) -> Result<RelayBuilder> {
    match args.database()? {
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

/// Ends this process when its parent has ended and closed our input.
fn follow_parent() {
    let mut rest = Vec::new();
    // An input that cannot be read is as good as closed.
    let _ = stdin().read_to_end(&mut rest);
    process::exit(ORPHANED);
}

/// Tells the parent.
fn say(line: &str) {
    let mut out = stdout().lock();
    // A parent that is gone needs no news.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
