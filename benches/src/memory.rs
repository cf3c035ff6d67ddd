//! Memory: the peak of a process whose relay works off a long backlog.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::{
    machine,
    publisher::{Counter, Odd},
    run,
    schema::Schema,
    table::{facts, float, table},
};

const PARTITIONS: u16 = 16;

/// Peak memory of this process while a relay works off a backlog in Postgres.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages wait when the relay starts
    #[arg(long, default_value_t = 1_000_000)]
    backlog: usize,
    /// The bytes of each payload
    #[arg(long, default_value_t = 200)]
    payload: usize,
    /// Fail when the peak is above this many MiB
    #[arg(long, value_name = "MIB")]
    check: Option<f64>,
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    Schema::with(PARTITIONS, true, |schema| drain(args, schema)).await
}

async fn drain(args: &Args, mut schema: Schema) -> Result<()> {
    schema
        .generate(args.backlog, "'key-' || n % 1000", args.payload)
        .await?;
    schema.settle_down(&["message"]).await?;
    let store = schema.store().await?;
    let before = machine::memory_kib("VmRSS")?;
    let peak_before = machine::memory_kib("VmHWM")?;
    let counter = Arc::new(Counter::new(args.backlog, Odd::Taken));
    let took = run::relay(Arc::clone(&store), counter).await?;
    let peak = machine::memory_kib("VmHWM")?;
    store.close().await;

    facts(
        "memory",
        [
            ("server", schema.describe().await?),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of {} bytes, 1000 keys, {PARTITIONS} partitions, inserted by the server",
                    args.backlog, args.payload
                ),
            ),
            ("settings", String::from("default")),
        ],
    );
    let mib = |kib: u32| f64::from(kib) / 1024.0;
    let mut table = table(["", "figure"]);
    table.add_row(["RSS before the relay", &format!("{:.1} MiB", mib(before))]);
    table.add_row([
        "peak before the relay",
        &format!("{:.1} MiB", mib(peak_before)),
    ]);
    table.add_row(["peak", &format!("{:.1} MiB", mib(peak))]);
    table.add_row([
        "messages/s",
        &format!("{:.0}", float(args.backlog) / took.ended.as_secs_f64()),
    ]);
    println!("{table}\n");
    if let Some(bound) = args.check {
        ensure!(
            mib(peak) <= bound,
            "peak memory: {:.1} MiB is above {bound}",
            mib(peak)
        );
    }
    Ok(())
}
