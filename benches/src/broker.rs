//! The relay to a real broker: messages per second, against a raw pipelined publish to the same one.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use async_trait::async_trait;
use clap::ValueEnum;
use iobox::{
    Outbox,
    memory::MemoryStore,
    message::{Draft, IdSource as _, Limits, Message, Origin, RandomIds},
    partition::Partitions,
    publisher::{Outcomes, Publisher},
};

use crate::{
    file::File,
    machine,
    nats::Nats,
    redis::Redis,
    relay::{Args, PARTITIONS, PAYLOAD, Stores, all_done, rate, refill},
    run,
    schema::Schema,
    table::{at_least, each, facts, median, table},
};

/// How many messages of the raw publish are sent and not acknowledged.
pub(crate) const RAW_IN_FLIGHT: usize = 1_000;

/// The messages of one call of enqueue.
const CALL: usize = 1_000;

/// How long a publisher may take until its messages are there.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Brokers {
    /// JetStream.
    Nats,
    /// Redis Streams.
    Redis,
}

impl Brokers {
    /// A new, empty place on it.
    async fn place(self) -> Result<Box<dyn Place>> {
        Ok(match self {
            Self::Nats => Box::new(Nats::create().await?),
            Self::Redis => Box::new(Redis::create().await?),
        })
    }
}

/// Completes when a place holds what is waited for.
pub(crate) type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A place on a broker, for one measurement.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// A publisher to it.
    fn publisher(&self) -> Result<Arc<dyn Publisher>>;

    /// Completes when it holds `count` messages.
    fn holds(&self, count: usize) -> Done;

    /// Publishes messages as a relay does, by the driver alone. Returns how long it took until the
    /// last acknowledgement.
    async fn publish_raw(&self, messages: usize, keys: usize, payload: usize) -> Result<Duration>;

    /// Removes it.
    async fn remove(&self) -> Result<()>;

    /// The server and its settings, for the table.
    async fn describe(&self) -> Result<String>;
}

/// Messages per second, round by round.
#[derive(Debug, Default)]
struct Figures {
    raw: Vec<f64>,
    publisher: Vec<f64>,
    memory: Vec<f64>,
    postgres: Vec<f64>,
    sqlite: Vec<f64>,
}

pub(crate) async fn measure(args: &Args, brokers: Brokers) -> Result<()> {
    let mut figures = Figures::default();
    let mut servers = Vec::new();
    let mut version = String::new();
    for _ in 0..args.rounds {
        let place = brokers.place().await?;
        let took = place
            .publish_raw(args.messages, args.keys(), PAYLOAD)
            .await?;
        figures.raw.push(rate(args, took));
        version = place.describe().await?;
        place.remove().await?;
        figures.publisher.push(publisher(args, brokers).await?);

        servers.clear();
        if matches!(args.store, Stores::Postgres | Stores::Both) {
            let work = |schema| postgres(args, brokers, schema);
            let told = Schema::with(PARTITIONS, true, work).await?;
            figures.postgres.push(told.0);
            servers.push(told.1);
        }
        if matches!(args.store, Stores::Sqlite | Stores::Both) {
            let told = sqlite(args, brokers).await?;
            figures.sqlite.push(told.0);
            servers.push(told.1);
        }
        if args.store == Stores::Memory {
            figures.memory.push(memory(args, brokers).await?);
            servers.push(String::from("memory"));
        }
    }
    show(args, &version, &servers.join("; "), &figures)
}

/// The publisher without a relay: batches as large as what is raw on its way, one after the other.
async fn publisher(args: &Args, brokers: Brokers) -> Result<f64> {
    let origin = Origin::new(RandomIds.draw());
    let sealed = (0..args.messages)
        .map(|number| draft(args, number).seal(origin, Limits::default(), &RandomIds))
        .map(|sealed| sealed.map(|sealed| sealed.message));
    let messages: Vec<Message> = sealed.collect::<iobox::Result<_>>()?;
    let place = brokers.place().await?;
    let publisher = place.publisher()?;
    publisher.probe().await?;
    let start = Instant::now();
    for batch in messages.chunks(RAW_IN_FLIGHT) {
        let mut outcomes = Outcomes::new(batch.len(), |_, _| {});
        publisher.publish(batch, &mut outcomes).await;
    }
    let took = start.elapsed();
    let there = tokio::time::timeout(PATIENCE, place.holds(args.messages));
    if there.await.is_err() {
        bail!("the publisher lost messages");
    }
    place.remove().await?;
    Ok(rate(args, took))
}

async fn memory(args: &Args, brokers: Brokers) -> Result<f64> {
    let store = MemoryStore::new(Partitions::new(PARTITIONS)?);
    let drafts: Vec<Draft> = (0..args.messages)
        .map(|number| draft(args, number))
        .collect();
    let outbox = Outbox::new(Arc::new(store.clone()));
    let mut tx = store.begin();
    for call in drafts.chunks(CALL) {
        outbox.enqueue(&mut tx, call).await?;
    }
    tx.commit()?;
    let place = brokers.place().await?;
    let done = place.holds(args.messages);
    let took = run::until(Arc::new(store), place.publisher()?, done).await?;
    place.remove().await?;
    Ok(rate(args, took))
}

fn draft(args: &Args, number: usize) -> Draft {
    let key = number % args.keys();
    Draft::new("bench.message", vec![b'x'; PAYLOAD]).key(format_args!("key-{key}"))
}

/// Returns messages per second, and which server it was.
async fn postgres(args: &Args, brokers: Brokers, mut schema: Schema) -> Result<(f64, String)> {
    refill(&mut schema, args).await?;
    let store = schema.store().await?;
    let place = brokers.place().await?;
    let done = place.holds(args.messages);
    let took = run::until(Arc::clone(&store), place.publisher()?, done).await?;
    store.close().await;
    all_done(&mut schema, args.messages).await?;
    place.remove().await?;
    Ok((rate(args, took), schema.describe().await?))
}

/// Returns messages per second, and which version it was.
async fn sqlite(args: &Args, brokers: Brokers) -> Result<(f64, String)> {
    let file = File::create().await?;
    file.enqueue(args.messages, args.keys(), PAYLOAD).await?;
    let place = brokers.place().await?;
    let done = place.holds(args.messages);
    let took = run::until(Arc::new(file.store()?), place.publisher()?, done).await?;
    file.all_done(args.messages)?;
    place.remove().await?;
    Ok((rate(args, took), file.describe()?))
}

/// Prints the figures and checks the ratio of the medians.
fn show(args: &Args, broker: &str, stores: &str, figures: &Figures) -> Result<()> {
    facts(
        "relay to a broker",
        [
            ("broker", broker.to_owned()),
            ("stores", stores.to_owned()),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of {PAYLOAD} bytes and what the wire adds, {} keys, {PARTITIONS} partitions",
                    args.messages,
                    args.keys()
                ),
            ),
            (
                "raw",
                format!("the driver alone, {RAW_IN_FLIGHT} in flight, from memory"),
            ),
            (
                "publisher",
                format!("without a relay, in batches of {RAW_IN_FLIGHT}"),
            ),
            ("relay", String::from("default settings, start to end")),
            ("rounds", args.rounds.to_string()),
        ],
    );
    let raw = median(&figures.raw);
    let mut table = table(["", "messages/s, median", "ratio", "each round"]);
    let alone = [
        ("raw publish", &figures.raw),
        ("publisher", &figures.publisher),
    ];
    let relays = [
        ("relay from memory", &figures.memory),
        ("relay from Postgres", &figures.postgres),
        ("relay from SQLite", &figures.sqlite),
    ];
    let relays = || relays.into_iter().filter(|(_, rates)| !rates.is_empty());
    for (name, rates) in alone.into_iter().chain(relays()) {
        table.add_row([
            name.to_owned(),
            format!("{:.0}", median(rates)),
            format!("{:.2}", median(rates) / raw),
            each(rates),
        ]);
    }
    println!("{table}\n");
    for (name, rates) in relays() {
        let ratio = median(rates) / raw;
        at_least(&format!("{name} by raw publish"), ratio, args.check)?;
    }
    Ok(())
}
