//! The relay: messages per second, against the least work that any relay must do.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use iobox::postgres::Config;

use crate::{
    broker::{self, Brokers},
    file::File,
    machine,
    publisher::{Counter, Odd},
    run,
    schema::Schema,
    table::{at_least, each, facts, float, median, table},
    yardstick,
};

pub(crate) const PARTITIONS: u16 = 16;
pub(crate) const PAYLOAD: usize = 200;

/// Messages per second of a relay and of a yardstick.
///
/// The yardstick is a bare loop of select and update; with a broker, it is a raw pipelined publish.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages each of them moves in a round
    #[arg(long, default_value_t = 200_000)]
    pub(crate) messages: usize,
    /// Over how many ordering keys they are spread: 1,000, or 10,000 with a broker
    ///
    /// One message of a key is under way at a time. A raw publish keeps no order, so that few keys
    /// measure the order more than the work.
    #[arg(long)]
    keys: Option<usize>,
    /// How many times both are measured, in turns
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Which store
    #[arg(long, value_enum, default_value_t = Stores::Both)]
    pub(crate) store: Stores,
    /// Relay to a real broker, and measure by a raw publish to it
    #[arg(long, value_enum)]
    pub(crate) broker: Option<Brokers>,
    /// Fail when the relay reaches less than this share of the yardstick
    #[arg(long, value_name = "RATIO")]
    pub(crate) check: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stores {
    Postgres,
    Sqlite,
    /// Postgres and SQLite.
    Both,
    /// No database, so that what a broker costs is seen; only with one.
    Memory,
}

/// Messages per second, round by round.
#[derive(Debug, Default)]
struct Figures {
    yardstick: Vec<f64>,
    relay: Vec<f64>,
}

impl Args {
    pub(crate) fn keys(&self) -> usize {
        let default = if self.broker.is_some() { 10_000 } else { 1_000 };
        self.keys.unwrap_or(default)
    }
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    if let Some(brokers) = args.broker {
        return broker::measure(args, brokers).await;
    }
    ensure!(
        args.store != Stores::Memory,
        "the store in memory has no yardstick but that of a broker: add --broker"
    );
    let mut ratios = Vec::new();
    if args.store != Stores::Sqlite {
        let ratio = Schema::with(PARTITIONS, true, |schema| postgres(args, schema)).await?;
        ratios.push(("Postgres", ratio));
    }
    if args.store != Stores::Postgres {
        ratios.push(("SQLite", sqlite(args).await?));
    }
    for (store, ratio) in ratios {
        at_least(&format!("relay by yardstick on {store}"), ratio, args.check)?;
    }
    Ok(())
}

async fn postgres(args: &Args, mut schema: Schema) -> Result<f64> {
    let mut figures = Figures::default();
    for _ in 0..args.rounds {
        refill(&mut schema, args).await?;
        let took = yardstick::postgres(&schema, PARTITIONS, Config::POOL_SIZE).await?;
        all_done(&mut schema, args.messages).await?;
        figures.yardstick.push(rate(args, took));

        refill(&mut schema, args).await?;
        let store = schema.store().await?;
        let counter = Arc::new(Counter::new(args.messages, Odd::Taken));
        let took = run::relay(Arc::clone(&store), counter).await?;
        store.close().await;
        all_done(&mut schema, args.messages).await?;
        figures.relay.push(rate(args, took.ended));
    }
    let settings = format!("{} connections each, default settings", Config::POOL_SIZE);
    Ok(show(args, &schema.describe().await?, &settings, &figures))
}

pub(crate) async fn refill(schema: &mut Schema, args: &Args) -> Result<()> {
    schema.clear().await?;
    schema.enqueue(args.messages, args.keys(), PAYLOAD).await?;
    schema.settle_down(&["message"]).await
}

pub(crate) async fn all_done(schema: &mut Schema, messages: usize) -> Result<()> {
    let done = schema.count("done").await?;
    ensure!(done == messages, "only {done} of {messages} are done");
    Ok(())
}

async fn sqlite(args: &Args) -> Result<f64> {
    let mut figures = Figures::default();
    let mut version = String::new();
    for _ in 0..args.rounds {
        let file = File::create().await?;
        file.enqueue(args.messages, args.keys(), PAYLOAD).await?;
        let took = yardstick::sqlite(&file, PARTITIONS).await?;
        file.all_done(args.messages)?;
        figures.yardstick.push(rate(args, took));

        let file = File::create().await?;
        file.enqueue(args.messages, args.keys(), PAYLOAD).await?;
        let counter = Arc::new(Counter::new(args.messages, Odd::Taken));
        let took = run::relay(Arc::new(file.store()?), counter).await?;
        file.all_done(args.messages)?;
        figures.relay.push(rate(args, took.ended));
        version = file.describe()?;
    }
    let settings = String::from("one writing connection each, default settings");
    Ok(show(args, &version, &settings, &figures))
}

pub(crate) fn rate(args: &Args, took: Duration) -> f64 {
    float(args.messages) / took.as_secs_f64()
}

/// Prints the figures and returns the ratio of the medians.
fn show(args: &Args, server: &str, settings: &str, figures: &Figures) -> f64 {
    facts(
        "relay",
        [
            ("server", server.to_owned()),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of {PAYLOAD} bytes, {} keys, {PARTITIONS} partitions",
                    args.messages,
                    args.keys()
                ),
            ),
            ("settings", settings.to_owned()),
            ("rounds", args.rounds.to_string()),
            (
                "measured",
                String::from("start to end: acquire, publish, settle, release"),
            ),
        ],
    );
    let (yardstick, relay) = (median(&figures.yardstick), median(&figures.relay));
    let ratio = relay / yardstick;
    let mut table = table(["", "messages/s, median", "ratio", "each round"]);
    table.add_row([
        String::from("yardstick"),
        format!("{yardstick:.0}"),
        String::from("1.00"),
        each(&figures.yardstick),
    ]);
    table.add_row([
        String::from("relay"),
        format!("{relay:.0}"),
        format!("{ratio:.2}"),
        each(&figures.relay),
    ]);
    println!("{table}\n");
    ratio
}
