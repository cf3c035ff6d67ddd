//! The relay to a real broker: messages per second, against a raw pipelined publish to the same one.

use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    file::File,
    machine,
    nats::Nats,
    relay::{Args, PARTITIONS, PAYLOAD, Stores, all_done, rate, refill},
    run,
    schema::Schema,
    table::{at_least, each, facts, median, table},
};

/// How many messages of the raw publish are sent and not acknowledged.
pub(crate) const RAW_IN_FLIGHT: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Brokers {
    Nats,
}

/// Messages per second, round by round.
#[derive(Debug, Default)]
struct Figures {
    raw: Vec<f64>,
    postgres: Vec<f64>,
    sqlite: Vec<f64>,
}

pub(crate) async fn measure(args: &Args, brokers: Brokers) -> Result<()> {
    let Brokers::Nats = brokers;
    let mut figures = Figures::default();
    let mut servers = Vec::new();
    for _ in 0..args.rounds {
        let nats = Nats::create().await?;
        let took = nats
            .publish_raw(args.messages, args.keys(), PAYLOAD)
            .await?;
        figures.raw.push(rate(args, took));
        nats.remove().await?;

        if args.store != Stores::Sqlite {
            let told = Schema::with(PARTITIONS, true, |schema| postgres(args, schema)).await?;
            figures.postgres.push(told.0);
            servers = vec![told.1];
        }
        if args.store != Stores::Postgres {
            let told = sqlite(args).await?;
            figures.sqlite.push(told.0);
            servers.truncate(usize::from(args.store == Stores::Both));
            servers.push(told.1);
        }
    }
    let version = Nats::describe().await?;
    show(args, &version, &servers.join("; "), &figures)
}

/// Returns messages per second, and which server it was.
async fn postgres(args: &Args, mut schema: Schema) -> Result<(f64, String)> {
    refill(&mut schema, args).await?;
    let store = schema.store().await?;
    let nats = Nats::create().await?;
    let done = nats.holds(args.messages);
    let took = run::until(Arc::clone(&store), nats.publisher()?, done).await?;
    store.close().await;
    all_done(&mut schema, args.messages).await?;
    nats.remove().await?;
    Ok((rate(args, took), schema.describe().await?))
}

/// Returns messages per second, and which version it was.
async fn sqlite(args: &Args) -> Result<(f64, String)> {
    let file = File::create().await?;
    file.enqueue(args.messages, args.keys(), PAYLOAD).await?;
    let nats = Nats::create().await?;
    let done = nats.holds(args.messages);
    let took = run::until(Arc::new(file.store()?), nats.publisher()?, done).await?;
    file.all_done(args.messages)?;
    nats.remove().await?;
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
                    "{} of {PAYLOAD} bytes and the headers of the wire, {} keys, {PARTITIONS} \
                     partitions",
                    args.messages,
                    args.keys()
                ),
            ),
            (
                "raw",
                format!("the driver alone, {RAW_IN_FLIGHT} in flight, from memory"),
            ),
            ("relay", String::from("default settings, start to end")),
            ("rounds", args.rounds.to_string()),
        ],
    );
    let raw = median(&figures.raw);
    let mut table = table(["", "messages/s, median", "ratio", "each round"]);
    let rows = [
        ("raw publish", &figures.raw),
        ("relay from Postgres", &figures.postgres),
        ("relay from SQLite", &figures.sqlite),
    ];
    for (name, rates) in rows.into_iter().filter(|(_, rates)| !rates.is_empty()) {
        table.add_row([
            name.to_owned(),
            format!("{:.0}", median(rates)),
            format!("{:.2}", median(rates) / raw),
            each(rates),
        ]);
    }
    println!("{table}\n");
    for (name, rates) in rows.into_iter().skip(1) {
        if !rates.is_empty() {
            at_least(
                &format!("{name} by raw publish"),
                median(rates) / raw,
                args.check,
            )?;
        }
    }
    Ok(())
}
