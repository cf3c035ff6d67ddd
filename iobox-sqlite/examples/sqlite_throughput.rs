//! Measures enqueue, fetch and settle of the SQLite store: `throughput [messages] [payload bytes]`.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::{
    env,
    time::{Duration, Instant},
};

use iobox_core::{
    Relay, Result,
    memory::MemoryBroker,
    message::Draft,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Change, Enqueue, FetchPartition, FetchRequest, InstanceId,
        ReleaseRequest, RenewRequest, Seq, Settlement, Store, Verdict,
    },
};
use iobox_sqlite::{Config, Failure, SqliteStore, Synchronous};

const BATCH: usize = 500;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut args = env::args()
        .skip(1)
        .map(|arg| arg.parse().expect("a number"));
    let messages: usize = args.next().unwrap_or(50_000);
    let bytes: usize = args.next().unwrap_or(200);
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        println!("{messages} messages of {bytes} bytes, synchronous {synchronous:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("throughput.db");
        let store = SqliteStore::open(Config::builder(&path).synchronous(synchronous).build()?)?;
        store.migrate().await?;
        store.verify().await?;
        run(&store, messages, bytes).await?;
        relay(&store, messages, bytes).await?;
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        println!("  file {:>38} KiB", size / 1024);
    }
    Ok(())
}

fn say(what: &str, count: usize, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    let each = took.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!("  {what:<32} {rate:>10.0} msg/s {each:>9.2} µs each");
}

fn draft(at: usize, bytes: usize) -> Draft {
    Draft::new("orders.created", vec![b'x'; bytes])
        .key(format!("account-{}", at % 5_000))
        .header("content-type", "application/json")
}

async fn run(store: &SqliteStore, messages: usize, bytes: usize) -> Result<()> {
    let singles = (messages / 20).min(2_000);
    let start = Instant::now();
    for at in 0..singles {
        let outbox = store.clone();
        store
            .write(move |tx| -> Result<(), Failure> {
                outbox.enqueue_sync(tx, &[draft(at, bytes)])?;
                Ok(())
            })
            .await?;
    }
    say("enqueue, 1 a transaction", singles, start.elapsed());

    let start = Instant::now();
    for at in 0..singles {
        let mut tx = store.begin().await?;
        store.enqueue(&mut tx, &[draft(at, bytes)]).await?;
        tx.commit().await?;
    }
    say("enqueue, begin/enqueue/commit", singles, start.elapsed());

    let mut batches = (0..messages).step_by(100).peekable();
    let start = Instant::now();
    while let Some(from) = batches.next() {
        let to = batches.peek().copied().unwrap_or(messages);
        let drafts: Vec<_> = (from..to).map(|at| draft(at, bytes)).collect();
        let outbox = store.clone();
        store
            .write(move |tx| -> Result<(), Failure> {
                outbox.enqueue_sync(tx, &drafts)?;
                Ok(())
            })
            .await?;
    }
    say("enqueue, 100 a transaction", messages, start.elapsed());

    let start = Instant::now();
    for at in (0..messages).step_by(100) {
        let drafts: Vec<_> = (at..at + 100)
            .map(|at| draft(at, bytes).id(format!("order-{at}")))
            .collect();
        let outbox = store.clone();
        store
            .write(move |tx| -> Result<(), Failure> {
                outbox.enqueue_sync(tx, &drafts)?;
                Ok(())
            })
            .await?;
    }
    say("enqueue with own ids, 100", messages, start.elapsed());

    let instance = InstanceId::new(iobox_core::message::IdSource::draw(
        &iobox_core::message::RandomIds,
    ));
    let queue = Queue::Outbox;
    let renew = RenewRequest {
        queue: queue.clone(),
        instance,
        ttl: Duration::from_secs(3_600),
        register: true,
        in_flight: 0,
    };
    store.renew(&renew).await?;
    let acquire = AcquireRequest {
        queue: queue.clone(),
        instance,
        held: Vec::new(),
    };
    let Acquired::Share { granted, .. } = store.acquire(&acquire).await? else {
        panic!("gone");
    };
    let request = |held: &[Vec<Seq>]| FetchRequest {
        queue: queue.clone(),
        partitions: granted
            .iter()
            .enumerate()
            .map(|(at, grant)| FetchPartition {
                partition: grant.partition,
                epoch: grant.epoch,
                limit: BATCH,
                held: held.get(at).cloned().unwrap_or_default(),
                full: Vec::new(),
                release: Vec::new(),
                sweep: false,
            })
            .collect(),
        limit: BATCH,
        bytes: 64 << 20,
    };

    let (mut fetching, mut settling, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let start = Instant::now();
        let fetched = store.fetch(&request(&[])).await?;
        fetching += start.elapsed();
        if fetched.pending.is_empty() {
            break;
        }
        count += fetched.pending.len();
        let settlements: Vec<_> = fetched
            .pending
            .iter()
            .map(|row| Settlement {
                partition: row.partition,
                epoch: granted[usize::from(row.partition.number())].epoch,
                seq: row.seq,
                revision: row.revision,
                attempt: row.attempt,
                change: Change::Verdict(Verdict::Done { duplicate: false }),
            })
            .collect();
        let start = Instant::now();
        store.settle(&settlements).await?;
        settling += start.elapsed();
        if count == BATCH * 20 {
            held(store, &request, granted.len()).await?;
        }
    }
    say("fetch, 500", count, fetching);
    say("settle as done, 500", count, settling);
    let start = Instant::now();
    store.fetch(&request(&[])).await?;
    println!("  empty fetch of 16 partitions {:>12.2?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..200 {
        store.renew(&renew).await?;
    }
    println!(
        "  renewal                      {:>12.2?}",
        start.elapsed() / 200
    );
    let leave = ReleaseRequest {
        queue,
        instance,
        partitions: Vec::new(),
        leave: true,
    };
    store.release(&leave).await
}

/// Publishes everything to a broker in memory, with a relay.
async fn relay(store: &SqliteStore, messages: usize, bytes: usize) -> Result<()> {
    for from in (0..messages).step_by(1_000) {
        let drafts: Vec<_> = (from..messages.min(from + 1_000))
            .map(|at| draft(at, bytes))
            .collect();
        let outbox = store.clone();
        store
            .write(move |tx| -> Result<(), Failure> {
                outbox.enqueue_sync(tx, &drafts)?;
                Ok(())
            })
            .await?;
    }
    let broker = MemoryBroker::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let start = Instant::now();
    let relay = Relay::builder(store.clone(), broker.clone()).build()?;
    let run = tokio::spawn(relay.run(async {
        let _ = stopped.await;
    }));
    broker.wait_for(messages).await;
    say("relay to a broker in memory", messages, start.elapsed());
    let _ = stop.send(());
    run.await.expect("a relay")
}

/// Fetches with thousands of rows held in front.
async fn held(
    store: &SqliteStore,
    request: &(impl Fn(&[Vec<Seq>]) -> FetchRequest + Sync),
    partitions: usize,
) -> Result<()> {
    let mut rows = vec![Vec::new(); partitions];
    let mut big = request(&[]);
    big.limit = 4_000;
    for row in store.fetch(&big).await?.pending {
        rows[usize::from(row.partition.number())].push(row.seq);
    }
    let count: usize = rows.iter().map(Vec::len).sum();
    let start = Instant::now();
    let fetched = store.fetch(&request(&rows)).await?;
    println!(
        "  fetch {} with {count} held {:>17.2?}",
        fetched.pending.len(),
        start.elapsed()
    );
    Ok(())
}
