//! Latency: from the return of COMMIT to the publisher's call, by one clock.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hdrhistogram::Histogram;
use iobox::{
    Outbox, Relay, Store,
    message::{Draft, Message},
    postgres::PostgresStore,
    publisher::{Durability, Outcomes, Publisher, Receipt},
    sqlite::SqliteStore,
    store::{Admin, Enqueued},
};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until},
};

use crate::{
    file::File,
    machine,
    schema::Schema,
    table::{facts, table},
};

const PARTITIONS: u16 = 16;
/// How long a relay may take to start before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the last message may take.
const LAST: Duration = Duration::from_secs(3);

/// Time from COMMIT to the publisher, for each way in which a relay can be woken.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each way is measured
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Messages per second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How many times each way is measured, in turns
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

/// Notes when each message came.
#[derive(Debug, Default)]
struct Stopwatch(Mutex<HashMap<String, Instant>>);

impl Stopwatch {
    fn take(&self) -> HashMap<String, Instant> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Publisher for Stopwatch {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let now = Instant::now();
        {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for message in batch {
                seen.entry(message.id().to_string()).or_insert(now);
            }
        }
        for index in 0..batch.len() {
            outcomes.report(index, Ok(Receipt::new()));
        }
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        Ok(Durability::Volatile)
    }
}

/// The application's end.
enum Writer {
    Postgres {
        outbox: Outbox<PostgresStore>,
        connection: Box<PgConnection>,
        wakes: bool,
    },
    Sqlite {
        outbox: Outbox<SqliteStore>,
        wakes: bool,
    },
}

impl Writer {
    /// Commits one message. Returns its id and when the commit returned.
    async fn commit(&mut self, draft: Draft) -> Result<(String, Instant)> {
        match self {
            Self::Postgres {
                outbox,
                connection,
                wakes,
            } => {
                let mut tx = connection.begin().await?;
                let id = id(&outbox.enqueue(&mut tx, [draft]).await?)?;
                tx.commit().await?;
                let at = Instant::now();
                if *wakes {
                    outbox.wake();
                }
                Ok((id, at))
            }
            Self::Sqlite { outbox, wakes } => {
                let mut tx = outbox.store().begin().await?;
                let id = id(&outbox.enqueue(&mut tx, [draft]).await?)?;
                tx.commit().await?;
                let at = Instant::now();
                if *wakes {
                    outbox.wake();
                }
                Ok((id, at))
            }
        }
    }
}

fn id(enqueued: &[Enqueued]) -> Result<String> {
    let first = enqueued.first().context("nothing was enqueued")?;
    Ok(first.id().to_string())
}

pub(crate) async fn measure(args: &Args) -> Result<()> {
    let (server, rows) = Schema::with(PARTITIONS, true, |woken| async move {
        Schema::with(PARTITIONS, false, |polled| postgres(args, woken, polled)).await
    })
    .await?;
    show(args, &server, &rows)?;
    let file = File::create().await?;
    let mut rows = vec![
        ("wake() after COMMIT", histogram()?),
        ("database wake-up, another store", histogram()?),
    ];
    for _ in 0..args.rounds {
        for (place, (_, times)) in rows.iter_mut().enumerate() {
            let store = Arc::new(file.store()?);
            let wakes = place == 0;
            let writer = if wakes {
                Arc::clone(&store)
            } else {
                Arc::new(file.store()?)
            };
            let writer = Writer::Sqlite {
                outbox: Outbox::new(SqliteStore::clone(&writer)),
                wakes,
            };
            times.add(sample(args, store, writer).await?)?;
        }
    }
    show(args, &file.describe()?, &rows)
}

type Rows = Vec<(&'static str, Histogram<u64>)>;

async fn postgres(args: &Args, mut woken: Schema, polled: Schema) -> Result<(String, Rows)> {
    let mut rows = vec![
        ("wake() after COMMIT", histogram()?),
        ("database wake-up, another store", histogram()?),
        ("polling alone, another store", histogram()?),
    ];
    for _ in 0..args.rounds {
        for (place, (_, times)) in rows.iter_mut().enumerate() {
            let schema = if place == 2 { &polled } else { &woken };
            let store = schema.store().await?;
            let wakes = place == 0;
            let own = if wakes {
                Arc::clone(&store)
            } else {
                schema.store().await?
            };
            let writer = Writer::Postgres {
                outbox: Outbox::new(PostgresStore::clone(&own)),
                connection: Box::new(schema.connect().await?),
                wakes,
            };
            times.add(sample(args, Arc::clone(&store), writer).await?)?;
            store.close().await;
            own.close().await;
        }
    }
    Ok((woken.describe().await?, rows))
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

/// Measures one way once, in microseconds.
async fn sample<S: Store + Admin>(
    args: &Args,
    store: Arc<S>,
    mut writer: Writer,
) -> Result<Histogram<u64>> {
    let stopwatch = Arc::new(Stopwatch::default());
    let relay = Relay::builder(store, Arc::clone(&stopwatch)).build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(relay.run(async move {
        let _ = stopped.await;
    }));
    sleep(WARM_UP).await;

    let mut sent = Vec::new();
    let mut next = tokio::time::Instant::now();
    let gap = Duration::from_secs(1) / args.rate.max(1);
    let mut turn = 0.0_f64;
    for number in 0..args.seconds * args.rate {
        sleep_until(next).await;
        let draft =
            Draft::new("bench.message", "x".repeat(200)).key(format_args!("k-{}", number % 100));
        sent.push(writer.commit(draft).await?);
        // Half a gap to one and a half, spread evenly, so that it does not march with a poller.
        turn = (turn + 0.618_033_988_75).fract();
        next += gap.mul_f64(0.5 + turn);
    }
    let mut seen = HashMap::new();
    let end = Instant::now() + LAST;
    while seen.len() < sent.len() && Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
        seen.extend(stopwatch.take());
    }
    let _ = stop.send(());
    running.await.context("the relay panicked")??;

    let mut times = histogram()?;
    for (id, committed) in sent {
        let came = seen
            .get(&id)
            .context("a message was not published in time")?;
        // A publisher that is called before COMMIT returns to the writer waited for nothing.
        let waited = came.saturating_duration_since(committed);
        times.record(u64::try_from(waited.as_micros())?)?;
    }
    Ok(times)
}

fn show(args: &Args, server: &str, rows: &Rows) -> Result<()> {
    facts(
        "latency",
        [
            ("server", server.to_owned()),
            ("machine", machine::describe()),
            (
                "load",
                format!("{} messages/s for {} s a round", args.rate, args.seconds),
            ),
            ("settings", String::from("default")),
            ("rounds", args.rounds.to_string()),
            (
                "measured",
                String::from("COMMIT returned to publisher called, in ms"),
            ),
        ],
    );
    let mut shown = table(["", "p50", "p99", "max", "messages"]);
    for (way, times) in rows {
        let ms = |micros: u64| -> Result<String> {
            Ok(format!(
                "{:.2}",
                f64::from(u32::try_from(micros)?) / 1_000.0
            ))
        };
        shown.add_row([
            (*way).to_owned(),
            ms(times.value_at_quantile(0.5))?,
            ms(times.value_at_quantile(0.99))?,
            ms(times.max())?,
            times.len().to_string(),
        ]);
    }
    println!("{shown}\n");
    Ok(())
}
