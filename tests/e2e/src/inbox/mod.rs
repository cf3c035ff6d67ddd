//! The inbox: reads a real broker, handles what comes, and stands still where it is ordered to.
//!
//! It prints `READY` when its handlers are subscribed, `READING` whenever it opened its source, and a
//! line when it obeys an order: `READ ids`, `STORED ids`, `HANDLING id` or `NOTED id`.

mod book;
mod cli;
mod held;
mod note;
mod orders;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use iobox::{
    Inbox, Router,
    dispatch::RetryPolicy,
    inbox::{HandlerPolicy, SourceName},
    nats::{JetStreamSource, SourceConfig},
    postgres::{self, PostgresStore},
    redis::{self, RedisSource},
    sqlite::{self, OnTxSync as _, SqliteStore},
    store::Ingest,
};

pub(crate) use self::cli::Args;
use self::{held::HeldSource, note::Note, orders::Orders};
use crate::{
    gauge::Gauge,
    log::Log,
    place::{Broker, Database},
    say,
};

/// What the handlers want.
const PATTERN: &str = "accounts.*";
/// The topics of Redis, each a stream.
const TOPICS: [&str; 2] = ["accounts.moved", "accounts.seen"];
/// The name of the source, and of the application at JetStream.
const NAME: &str = "e2e";

/// Runs it until `shutdown` completes.
pub(crate) async fn run(args: &Args, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    let orders = Orders::new(&args.orders);
    let gauge = Gauge::open(args.gauge.as_deref())?;
    match args.places.database()? {
        Database::Postgres { url, schema } => {
            let config = postgres::Config::builder()
                .schema(schema)
                .idle_in_transaction_timeout(args.ttl())
                .build()?;
            let store = PostgresStore::connect_url(url, config).await?;
            let mut router = Router::new();
            for name in &args.book {
                let book = book::in_postgres(schema, name, &orders, &gauge);
                router.on_tx(PATTERN, name, book).policy(policy(args)?);
            }
            serve(store, router, args, (orders, gauge), shutdown).await
        }
        Database::Sqlite { file } => {
            let store = SqliteStore::open(sqlite::Config::new(file))?;
            let mut router = Router::new();
            for name in &args.book {
                let book = book::in_sqlite(name, &orders, &gauge);
                router.on_tx_sync(PATTERN, name, book).policy(policy(args)?);
            }
            serve(store, router, args, (orders, gauge), shutdown).await
        }
    }
}

fn policy(args: &Args) -> Result<HandlerPolicy> {
    let policy = HandlerPolicy::new().concurrency(args.concurrency);
    let Some(millis) = args.retry_base else {
        return Ok(policy);
    };
    let base = Duration::from_millis(millis);
    Ok(policy.retry(RetryPolicy::new(base, base * 10, 20)?))
}

/// Adds the plain handlers and the source, and runs the inbox.
async fn serve<S: Ingest + fmt::Debug>(
    store: S,
    mut router: Router<S>,
    args: &Args,
    (orders, gauge): (Orders, Gauge),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let log = Arc::new(Log::open(&args.log, &args.run)?);
    for name in &args.note {
        let note = Note::new(Arc::clone(&log), orders.clone(), gauge.clone());
        router.on(PATTERN, name, note).policy(policy(args)?);
    }
    let builder = Inbox::builder(store, router)
        .time_to_live(args.ttl())
        .max_crashes(args.max_crashes);
    let builder = match args.places.broker()? {
        Broker::Log => bail!("name the broker that is read"),
        Broker::JetStream { url, stream } => {
            let config = SourceConfig::builder(url, stream, NAME)
                .source(NAME)
                .prefix(stream)
                .use_message_ids(true)
                .build()?;
            builder.source(HeldSource::new(JetStreamSource::new(config), orders, gauge))
        }
        Broker::Redis { url, prefix } => {
            let config = redis::Config::builder(url).prefix(prefix).build()?;
            let source = RedisSource::builder(config, SourceName::new(NAME)?);
            let source = TOPICS
                .into_iter()
                .fold(source, |source, topic| source.topic(topic));
            builder.source(HeldSource::new(source.build()?, orders, gauge))
        }
    };
    let inbox = builder.build()?;
    inbox.subscribe().await?;
    say("READY");
    inbox.run(shutdown).await?;
    Ok(())
}
