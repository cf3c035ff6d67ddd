//! Through a broker: the relay with a real publisher, against publishing without iobox.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use iobox::{
    Outbox, Store,
    memory::MemoryStore,
    message::{Draft, IdSource as _, Limits, Message, Origin, RandomIds},
    partition::Partitions,
    publisher::{Outcomes, Publisher},
    store::Admin,
};
use tokio::time::sleep;

use crate::{
    broker::{Broker, IN_FLIGHT, Place},
    file::File,
    machine, run,
    schema::Schema,
    table::{each, facts, float, median, table},
};

const KEYS: usize = 1_000;
const PARTITIONS: u16 = 16;
const PAYLOAD: usize = 200;

/// The messages of one call of enqueue.
const TRANSACTION: usize = 1_000;

/// How often the broker is asked whether it holds everything.
const LOOK: Duration = Duration::from_millis(5);

/// What is measured, and how often.
pub(crate) struct Plan {
    pub(crate) broker: Broker,
    pub(crate) messages: usize,
    pub(crate) rounds: usize,
}

/// Messages per second, round by round.
#[derive(Default)]
struct Figures {
    raw: Vec<f64>,
    publisher: Vec<f64>,
    relay: Vec<f64>,
    broker: String,
    raw_name: &'static str,
}

/// From Postgres; returns the ratio of the medians.
pub(crate) async fn postgres(plan: &Plan, mut schema: Schema) -> Result<f64> {
    let mut figures = Figures::default();
    for _ in 0..plan.rounds {
        schema.clear().await?;
        schema.enqueue(plan.messages, KEYS, PAYLOAD).await?;
        schema.settle_down().await?;
        let store = schema.store().await?;
        measure(plan, Arc::clone(&store), &mut figures).await?;
        store.close().await;
    }
    Ok(show(plan, &schema.describe().await?, &figures))
}

/// From SQLite; returns the ratio of the medians.
pub(crate) async fn sqlite(plan: &Plan) -> Result<f64> {
    let mut figures = Figures::default();
    let mut version = String::new();
    for _ in 0..plan.rounds {
        let file = File::create().await?;
        file.enqueue(plan.messages, KEYS, PAYLOAD).await?;
        measure(plan, Arc::new(file.store()?), &mut figures).await?;
        file.all_done(plan.messages)?;
        version = file.describe()?;
    }
    Ok(show(plan, &version, &figures))
}

/// From memory; returns the ratio of the medians.
pub(crate) async fn memory(plan: &Plan) -> Result<f64> {
    let mut figures = Figures::default();
    for _ in 0..plan.rounds {
        let store = MemoryStore::new(Partitions::new(PARTITIONS)?);
        let drafts: Vec<Draft> = (0..plan.messages).map(draft).collect();
        let outbox = Outbox::new(Arc::new(store.clone()));
        let mut tx = store.begin();
        for part in drafts.chunks(TRANSACTION) {
            outbox.enqueue(&mut tx, part).await?;
        }
        tx.commit()?;
        measure(plan, Arc::new(store), &mut figures).await?;
    }
    Ok(show(plan, "memory", &figures))
}

fn draft(number: usize) -> Draft {
    Draft::new("bench.message", vec![b'x'; PAYLOAD]).key(format_args!("key-{}", number % KEYS))
}

/// One round: raw, then the relay, each into a place of its own on the same server.
async fn measure<S: Store + Admin>(
    plan: &Plan,
    store: Arc<S>,
    figures: &mut Figures,
) -> Result<()> {
    let rate = |took: Duration| float(plan.messages) / took.as_secs_f64();
    let place = plan.broker.place().await?;
    figures
        .raw
        .push(rate(place.raw(plan.messages, PAYLOAD).await?));
    holds(place.as_ref(), plan.messages).await?;
    figures.broker = place.describe().await?;
    figures.raw_name = place.raw_name();
    place.remove().await?;

    let place = plan.broker.place().await?;
    figures
        .publisher
        .push(rate(alone(plan, place.publisher()?).await?));
    holds(place.as_ref(), plan.messages).await?;
    place.remove().await?;

    let place: Arc<dyn Place> = plan.broker.place().await?.into();
    let publisher = place.publisher()?;
    let (watched, messages) = (Arc::clone(&place), plan.messages);
    let full = async move {
        while watched.count().await.is_ok_and(|count| count < messages) {
            sleep(LOOK).await;
        }
    };
    let took = run::until(store, publisher, full).await?;
    holds(place.as_ref(), plan.messages).await?;
    figures.relay.push(rate(took));
    place.remove().await
}

/// The publisher without a relay: batches one after the other, as large as what is raw on its way.
async fn alone(plan: &Plan, publisher: Arc<dyn Publisher>) -> Result<Duration> {
    let origin = Origin::new(RandomIds.draw());
    let sealed = (0..plan.messages).map(|number| {
        let sealed = draft(number).seal(origin, Limits::default(), &RandomIds);
        sealed.map(|sealed| sealed.message)
    });
    let messages: Vec<Message> = sealed.collect::<iobox::Result<_>>()?;
    publisher.probe().await?;
    let start = Instant::now();
    for batch in messages.chunks(IN_FLIGHT) {
        let mut outcomes = Outcomes::new(batch.len(), |_, _| {});
        publisher.publish(batch, &mut outcomes).await;
    }
    Ok(start.elapsed())
}

async fn holds(place: &dyn Place, messages: usize) -> Result<()> {
    let count = place.count().await?;
    ensure!(count == messages, "the broker holds {count} of {messages}");
    Ok(())
}

/// Prints the figures and returns the ratio of the medians.
fn show(plan: &Plan, store: &str, figures: &Figures) -> f64 {
    facts(
        "relay through a broker",
        [
            ("store", store.to_owned()),
            ("broker", figures.broker.clone()),
            ("machine", machine::describe()),
            (
                "messages",
                format!(
                    "{} of {PAYLOAD} bytes, {KEYS} keys, {PARTITIONS} partitions",
                    plan.messages
                ),
            ),
            (
                "raw",
                format!("{IN_FLIGHT} on their way at a time, one connection"),
            ),
            ("rounds", plan.rounds.to_string()),
            (
                "measured",
                String::from("start to end: acquire, publish, settle, release"),
            ),
        ],
    );
    let (raw, relay) = (median(&figures.raw), median(&figures.relay));
    let ratio = relay / raw;
    let mut table = table(["", "messages/s, median", "ratio", "each round"]);
    table.add_row([
        figures.raw_name.to_owned(),
        format!("{raw:.0}"),
        String::from("1.00"),
        each(&figures.raw),
    ]);
    let publisher = median(&figures.publisher);
    table.add_row([
        String::from("publisher alone"),
        format!("{publisher:.0}"),
        format!("{:.2}", publisher / raw),
        each(&figures.publisher),
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
