//! Keys: whether a key that fails for ever, or is slow, slows the others.

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use crate::{
    machine,
    publisher::{Counter, ODD_KEY, Odd},
    run,
    schema::Schema,
    table::{at_least, each, facts, float, median, table},
};

const PAYLOAD: usize = 200;
const SLOW: Duration = Duration::from_secs(1);
/// Each way in which the key in front is odd, after none at all.
const CASES: [(&str, Odd); 4] = [
    ("without", Odd::Taken),
    ("dead: its first message is rejected for good", Odd::Dead),
    ("refused: its first message fails at each try", Odd::Refused),
    ("slow: each of its messages takes 1 s", Odd::Slow(SLOW)),
];

/// Throughput of the other keys with and without a key in front that fails for ever, or is slow.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages of the odd key wait in front
    #[arg(long, default_value_t = 100_000)]
    followers: usize,
    /// How many messages of other keys wait behind
    #[arg(long, default_value_t = 200_000)]
    others: usize,
    /// How many other keys there are
    #[arg(long, default_value_t = 1_000)]
    keys: usize,
    /// The partitions; with one, every other key shares that of the odd key
    #[arg(long, default_value_t = 16)]
    partitions: u16,
    /// How many times each case is measured, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fail when the others reach less than this share of their throughput without it
    #[arg(long, value_name = "RATIO")]
    check: Option<f64>,
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    Schema::with(args.partitions, true, |schema| compare(args, schema)).await
}

async fn compare(args: &Args, mut schema: Schema) -> Result<()> {
    let mut figures = CASES.map(|_| Vec::new());
    let mut odd_counts = CASES.map(|_| 0);
    for _ in 0..args.rounds {
        for ((figures, odd_count), (_, odd)) in figures.iter_mut().zip(&mut odd_counts).zip(CASES) {
            let (rate, count) = drain(args, &mut schema, odd).await?;
            figures.push(rate);
            *odd_count = count;
        }
    }
    facts(
        "keys",
        [
            ("server", schema.describe().await?),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of the odd key in front of {} of {} others, {PAYLOAD} bytes, {} partitions",
                    args.followers + 1,
                    args.others,
                    args.keys,
                    args.partitions
                ),
            ),
            ("settings", String::from("default")),
            ("rounds", args.rounds.to_string()),
            (
                "measured",
                String::from("start to the last publish of the others"),
            ),
        ],
    );
    let base = figures.first().map_or(0.0, |figures| median(figures));
    let mut shown = table([
        "key in front",
        "others/s, median",
        "ratio",
        "each round",
        "tries of it",
    ]);
    let mut ratios = Vec::new();
    for (((case, _), figures), odd_count) in CASES.iter().zip(&figures).zip(odd_counts) {
        let ratio = median(figures) / base;
        ratios.push((case, ratio));
        shown.add_row([
            (*case).to_owned(),
            format!("{:.0}", median(figures)),
            format!("{ratio:.2}"),
            each(figures),
            odd_count.to_string(),
        ]);
    }
    println!("{shown}\n");
    for (case, ratio) in ratios {
        at_least(case, ratio, args.check)?;
    }
    Ok(())
}

/// Measures one case: the others per second, and how often the odd key was tried.
async fn drain(args: &Args, schema: &mut Schema, odd: Odd) -> Result<(f64, usize)> {
    schema.clear().await?;
    if odd != Odd::Taken {
        schema
            .generate(args.followers + 1, &format!("'{ODD_KEY}'"), PAYLOAD)
            .await?;
    }
    let key = format!("'key-' || n % {}", args.keys);
    schema.generate(args.others, &key, PAYLOAD).await?;
    schema.settle_down(&["message"]).await?;
    let store = schema.store().await?;
    let counter = Arc::new(Counter::new(args.others, odd));
    let took = run::relay(Arc::clone(&store), Arc::clone(&counter)).await?;
    store.close().await;
    let rate = float(args.others) / took.published.as_secs_f64();
    Ok((rate, counter.odd_count()))
}
