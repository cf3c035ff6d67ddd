//! The measurement of the inbox: rounds of each contender in turns, then the latency.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use iobox::postgres::{Config, PostgresStore};

use super::{Args, latency, postgres, sqlite};
use crate::{
    file::File,
    machine,
    relay::{PARTITIONS, PAYLOAD, Stores},
    schema::Schema,
    table::{at_least, each, facts, float, median, table},
};

/// How long each took in one round.
pub(super) struct Round {
    pub(super) ingest: Duration,
    pub(super) plain: Duration,
    pub(super) transactional: Duration,
    pub(super) bare: Duration,
}

/// Messages per second, round by round.
#[derive(Debug, Default)]
struct Figures {
    ingest: Vec<f64>,
    plain: Vec<f64>,
    transactional: Vec<f64>,
    bare: Vec<f64>,
}

impl Figures {
    fn add(&mut self, args: &Args, round: &Round) {
        let rate = |took: Duration| float(args.messages) / took.as_secs_f64();
        self.ingest.push(rate(round.ingest));
        self.plain.push(rate(round.plain));
        self.transactional.push(rate(round.transactional));
        self.bare.push(rate(round.bare));
    }
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    ensure!(
        args.store != Stores::Memory,
        "the store in memory has nothing to compare with"
    );
    let mut ratios = Vec::new();
    if args.store != Stores::Sqlite {
        let mut figures = Figures::default();
        for _ in 0..args.rounds {
            figures.add(args, &postgres::round(args).await?);
        }
        let (server, times) = Schema::with(PARTITIONS, true, |mut schema| async move {
            let store = schema.store().await?;
            let times = latencies(args, PostgresStore::clone(&store)).await?;
            store.close().await;
            Ok((schema.describe().await?, times))
        })
        .await?;
        let settings = format!(
            "{} connections for transactions each, default settings",
            Config::POOL_SIZE
        );
        ratios.push(("Postgres", show(args, &server, &settings, &figures)));
        show_latency(args, &times)?;
    }
    if args.store != Stores::Postgres {
        let mut figures = Figures::default();
        for _ in 0..args.rounds {
            figures.add(args, &sqlite::round(args).await?);
        }
        let file = File::create().await?;
        let times = latencies(args, file.store()?).await?;
        let settings = "one connection for transactions each, default settings";
        ratios.push(("SQLite", show(args, &file.describe()?, settings, &figures)));
        show_latency(args, &times)?;
    }
    for (store, ratio) in ratios {
        let what = format!("transactional handler by bare loop on {store}");
        at_least(&what, ratio, args.check)?;
    }
    Ok(())
}

async fn latencies<S: iobox::store::Receive>(
    args: &Args,
    store: S,
) -> Result<Option<[Histogram<u64>; 2]>> {
    Ok(match args.seconds {
        0 => None,
        _ => Some(latency::sample(args, &store).await?),
    })
}

/// Prints the figures and returns the ratio of the transactional handler to the bare loop: the median of
/// the rounds, since what else the machine does changes from round to round.
fn show(args: &Args, server: &str, settings: &str, figures: &Figures) -> f64 {
    facts(
        "inbox",
        [
            ("server", server.to_owned()),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of {PAYLOAD} bytes, {} keys, {PARTITIONS} partitions, 1 handler",
                    args.messages, args.keys
                ),
            ),
            ("settings", settings.to_owned()),
            ("rounds", args.rounds.to_string()),
            (
                "measured",
                String::from("ingest: calls of 1,000; handlers: start to end of an inbox"),
            ),
        ],
    );
    let ratio = |rates: &[f64]| {
        let rounds = rates.iter().zip(&figures.bare);
        median(&rounds.map(|(rate, bare)| rate / bare).collect::<Vec<_>>())
    };
    let heads = ["", "messages/s, median", "ratio, median", "each round"];
    let mut table = table(heads);
    for (what, rates) in [
        ("bare loop: known and effect", &figures.bare),
        ("transactional handler", &figures.transactional),
        ("plain handler", &figures.plain),
        ("ingest", &figures.ingest),
    ] {
        table.add_row([
            what.to_owned(),
            format!("{:.0}", median(rates)),
            format!("{:.2}", ratio(rates)),
            each(rates),
        ]);
    }
    println!("{table}\n");
    ratio(&figures.transactional)
}

fn show_latency(args: &Args, times: &Option<[Histogram<u64>; 2]>) -> Result<()> {
    let Some([received, handled]) = times else {
        return Ok(());
    };
    println!(
        "latency in ms, {} messages/s for {} s, from the call of receive",
        args.rate, args.seconds
    );
    let mut shown = table(["until", "p50", "p99", "max", "messages"]);
    for (what, times) in [("received", received), ("handled", handled)] {
        let ms = |micros: u64| -> Result<String> {
            Ok(format!(
                "{:.2}",
                f64::from(u32::try_from(micros)?) / 1_000.0
            ))
        };
        shown.add_row([
            what.to_owned(),
            ms(times.value_at_quantile(0.5))?,
            ms(times.value_at_quantile(0.99))?,
            ms(times.max())?,
            times.len().to_string(),
        ]);
    }
    println!("{shown}\n");
    Ok(())
}
