//! The relay: messages per second, against the least work that any relay must do.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use iobox::postgres::Config;

use crate::{
    broker::Broker,
    file::File,
    machine,
    publisher::{Counter, Odd},
    run,
    schema::Schema,
    table::{at_least, each, facts, float, median, table},
    through, yardstick,
};

const KEYS: usize = 1_000;
const PARTITIONS: u16 = 16;
const PAYLOAD: usize = 200;

/// Messages per second of a relay and of the yardstick: a bare loop of select and update, or with
/// `--broker` a bare publish to that broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages each of them moves in a round
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// How many times both are measured, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Which store: both databases by default, or memory with a broker, so that what the broker
    /// costs is seen
    #[arg(long, value_enum)]
    store: Option<Stores>,
    /// Publish to a real broker instead of one that answers at once
    #[arg(long, value_enum)]
    broker: Option<Broker>,
    /// Fail when the relay reaches less than this share of the yardstick
    #[arg(long, value_name = "RATIO")]
    check: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stores {
    Postgres,
    Sqlite,
    /// Postgres and SQLite.
    Both,
    Memory,
}

/// Messages per second, round by round.
#[derive(Debug, Default)]
struct Figures {
    yardstick: Vec<f64>,
    relay: Vec<f64>,
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    if let Some(broker) = args.broker {
        return through(args, broker).await;
    }
    let store = args.store.unwrap_or(Stores::Both);
    ensure!(
        store != Stores::Memory,
        "the store in memory has no yardstick but that of a broker: add --broker"
    );
    let mut ratios = Vec::new();
    if store != Stores::Sqlite {
        let ratio = Schema::with(PARTITIONS, true, |schema| postgres(args, schema)).await?;
        ratios.push(("Postgres", ratio));
    }
    if store != Stores::Postgres {
        ratios.push(("SQLite", sqlite(args).await?));
    }
    for (store, ratio) in ratios {
        at_least(&format!("relay by yardstick on {store}"), ratio, args.check)?;
    }
    Ok(())
}

async fn through(args: &Args, broker: Broker) -> Result<()> {
    let plan = through::Plan {
        broker,
        messages: args.messages,
        rounds: args.rounds,
    };
    let store = args.store.unwrap_or(Stores::Memory);
    let mut ratios = Vec::new();
    if matches!(store, Stores::Postgres | Stores::Both) {
        let ratio = Schema::with(PARTITIONS, true, async |schema| {
            through::postgres(&plan, schema).await
        });
        ratios.push(("Postgres", ratio.await?));
    }
    if matches!(store, Stores::Sqlite | Stores::Both) {
        ratios.push(("SQLite", through::sqlite(&plan).await?));
    }
    if store == Stores::Memory {
        ratios.push(("memory", through::memory(&plan).await?));
    }
    for (store, ratio) in ratios {
        at_least(
            &format!("relay from {store} by raw publishing"),
            ratio,
            args.check,
        )?;
    }
    Ok(())
}

async fn postgres(args: &Args, mut schema: Schema) -> Result<f64> {
    let mut figures = Figures::default();
    for _ in 0..args.rounds {
        refill(&mut schema, args.messages).await?;
        let took = yardstick::postgres(&schema, PARTITIONS, Config::POOL_SIZE).await?;
        all_done(&mut schema, args.messages).await?;
        figures.yardstick.push(rate(args, took));

        refill(&mut schema, args.messages).await?;
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

async fn refill(schema: &mut Schema, messages: usize) -> Result<()> {
    schema.clear().await?;
    schema.enqueue(messages, KEYS, PAYLOAD).await?;
    schema.settle_down().await
}

async fn all_done(schema: &mut Schema, messages: usize) -> Result<()> {
    let done = schema.count(4).await?;
    ensure!(done == messages, "only {done} of {messages} are done");
    Ok(())
}

async fn sqlite(args: &Args) -> Result<f64> {
    let mut figures = Figures::default();
    let mut version = String::new();
    for _ in 0..args.rounds {
        let file = File::create().await?;
        file.enqueue(args.messages, KEYS, PAYLOAD).await?;
        let took = yardstick::sqlite(&file, PARTITIONS).await?;
        file.all_done(args.messages)?;
        figures.yardstick.push(rate(args, took));

        let file = File::create().await?;
        file.enqueue(args.messages, KEYS, PAYLOAD).await?;
        let counter = Arc::new(Counter::new(args.messages, Odd::Taken));
        let took = run::relay(Arc::new(file.store()?), counter).await?;
        file.all_done(args.messages)?;
        figures.relay.push(rate(args, took.ended));
        version = file.describe()?;
    }
    let settings = String::from("one writing connection each, default settings");
    Ok(show(args, &version, &settings, &figures))
}

fn rate(args: &Args, took: Duration) -> f64 {
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
                    "{} of {PAYLOAD} bytes, {KEYS} keys, {PARTITIONS} partitions",
                    args.messages
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
