//! Measures fetching and settling against a bare loop on the same table.
//!
//! `IOBOX_TEST_POSTGRES_URL=postgres://… cargo run --release -p iobox-postgres --example postgres_throughput`
//! makes a schema `iobox_throughput`, fills it, prints figures and drops it.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]
#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use iobox_core::{
    message::Draft,
    partition::Partition,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Change, Enqueue, Epoch, FetchPartition, FetchRequest, Fetched,
        InstanceId, RenewRequest, Settlement, Store, Verdict,
    },
};
use iobox_postgres::{Config, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use uuid::Uuid;

const SCHEMA: &str = "iobox_throughput";
const PARTITIONS: i64 = 16;
const BACKLOG: i64 = 1_000_000;
const BATCH: usize = 1_000;
const ROUNDS: u32 = 60;

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

struct Bench {
    store: PostgresStore,
    person: PgConnection,
    held: Vec<(Partition, Epoch)>,
}

impl Bench {
    async fn run(&mut self, sql: &str) -> AnyResult<()> {
        let sql = sql.replace("message", &format!("{SCHEMA}.message"));
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.person)
            .await?;
        Ok(())
    }

    /// A backlog of messages of 300 bytes, of 5,000 keys.
    async fn fill(&mut self, rows: i64) -> AnyResult<()> {
        self.run("truncate message").await?;
        self.run(&format!(
            "insert into message
               (enqueued_at, size, partition, id, topic, key, headers, payload)
             select now(), 350, (i % 5000) % {PARTITIONS}, gen_random_uuid(), 'orders.created',
               'account-' || i % 5000, '[[\"content-type\",\"application/json\"]]',
               convert_to(repeat('x', 300), 'UTF8')
             from generate_series(1, {rows}) as i"
        ))
        .await?;
        self.run("vacuum analyze message").await
    }

    fn request(&self, partitions: &[(Partition, Epoch)], limit: usize) -> FetchRequest {
        FetchRequest {
            queue: Queue::Outbox,
            partitions: partitions
                .iter()
                .map(|&(partition, epoch)| FetchPartition {
                    partition,
                    epoch,
                    limit,
                    held: Vec::new(),
                    full: Vec::new(),
                    release: Vec::new(),
                    sweep: false,
                })
                .collect(),
            limit,
            bytes: 32 << 20,
        }
    }

    /// The median of many fetches.
    async fn fetch(&self, name: &str, request: &FetchRequest) -> AnyResult<Fetched> {
        let mut times = Vec::new();
        let mut last = Fetched::default();
        for _ in 0..30 {
            let started = Instant::now();
            last = self.store.fetch(request).await?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        println!(
            "fetch, {name:<46} min {:>8.3} ms  p50 {:>8.3} ms  {:>5} pending {:>5} aside",
            ms(times[0]),
            ms(times[times.len() / 2]),
            last.pending.len(),
            last.aside.iter().map(|aside| aside.count).sum::<usize>(),
        );
        Ok(last)
    }

    /// Fetches a batch and settles it, and says how long each took.
    async fn batch_of_the_store(
        &self,
        partition: (Partition, Epoch),
    ) -> AnyResult<(Duration, Duration)> {
        let request = self.request(&[partition], BATCH);
        let started = Instant::now();
        let fetched = self.store.fetch(&request).await?;
        let fetching = started.elapsed();
        assert_eq!(fetched.pending.len(), BATCH);
        let batch: Vec<_> = fetched
            .pending
            .iter()
            .map(|row| Settlement {
                partition: row.partition,
                epoch: partition.1,
                seq: row.seq,
                revision: row.revision,
                attempt: 1,
                change: Change::Verdict(Verdict::Done { duplicate: false }),
            })
            .collect();
        let started = Instant::now();
        self.store.settle(&batch).await?;
        Ok((fetching, started.elapsed()))
    }

    /// The same without a store: no leases, no fence, no order, no attempts.
    async fn bare_batch(&mut self, partition: Partition) -> AnyResult<(Duration, Duration)> {
        let partition = i16::from(partition.number());
        let started = Instant::now();
        let rows = sqlx::query(
            "select seq, id, topic, key, headers, payload from iobox_throughput.message
             where partition = $1 and state = 0 order by seq limit 1000",
        )
        .bind(partition)
        .fetch_all(&mut self.person)
        .await?;
        let seqs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let fetching = started.elapsed();
        assert_eq!(seqs.len(), BATCH);
        let started = Instant::now();
        sqlx::query(
            "update iobox_throughput.message set state = 4, settled_at = now()
             where partition = $1 and seq = any ($2)",
        )
        .bind(partition)
        .bind(seqs)
        .execute(&mut self.person)
        .await?;
        Ok((fetching, started.elapsed()))
    }

    /// Both in turns of ten batches, so that whatever else the machine does meets both. Rows of
    /// both partitions stand in the same pages, and who comes first brings them into the cache: they
    /// take turns in that, too.
    async fn compare(&mut self, store: (Partition, Epoch), bare: Partition) -> AnyResult<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (mut our_cpu, mut their_cpu) = (0.0, 0.0);
        for turn in 0..ROUNDS / 5 {
            let before = self.cpu_ms().await?;
            if turn % 4 == 0 || turn % 4 == 3 {
                for _ in 0..10 {
                    ours.push(self.batch_of_the_store(store).await?);
                }
                our_cpu += self.cpu_ms().await? - before;
            } else {
                for _ in 0..10 {
                    theirs.push(self.bare_batch(bare).await?);
                }
                their_cpu += self.cpu_ms().await? - before;
            }
        }
        report("store", ours, our_cpu / f64::from(ROUNDS));
        report("bare", theirs, their_cpu / f64::from(ROUNDS));
        Ok(())
    }

    /// The processor time of this process and of the server's sessions, where the server runs on
    /// the same machine and the machine tells (Linux); otherwise 0.
    async fn cpu_ms(&mut self) -> AnyResult<f64> {
        let pids: Vec<i32> =
            sqlx::query("select pid from pg_stat_activity where datname = current_database()")
                .fetch_all(&mut self.person)
                .await?
                .iter()
                .map(|row| row.get(0))
                .collect();
        let ticks = |pid: String| -> Option<f64> {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
            // The 14th and 15th field of the file, counted from behind the name: user and system.
            let user: f64 = fields.get(11)?.parse().ok()?;
            let system: f64 = fields.get(12)?.parse().ok()?;
            Some(user + system)
        };
        let all = pids.iter().map(ToString::to_string);
        let sum: f64 = all.chain([String::from("self")]).filter_map(ticks).sum();
        // A tick is 10 ms on every Linux that matters here.
        Ok(sum * 10.0)
    }

    async fn enqueueing(&mut self) -> AnyResult<()> {
        for (batch, rounds) in [(1, 2_000), (100, 100)] {
            let drafts: Vec<_> = (0..batch)
                .map(|n| Draft::new("orders.created", vec![b'x'; 300]).key(n))
                .collect();
            let started = Instant::now();
            for _ in 0..rounds {
                let mut tx = self.person.begin().await?;
                self.store.enqueue(&mut tx, &drafts).await?;
                tx.commit().await?;
            }
            let rate = f64::from(batch * rounds) / started.elapsed().as_secs_f64();
            println!("enqueue, {batch} a transaction, one connection: {rate:.0} msg/s");
        }
        Ok(())
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn report(name: &str, mut times: Vec<(Duration, Duration)>, cpu: f64) {
    times.sort_unstable_by_key(|(fetching, settling)| *fetching + *settling);
    for (which, (fetching, settling)) in [("fastest", times[0]), ("median", times[times.len() / 2])]
    {
        println!(
            "{BATCH} fetched and settled, {name:<5} {which:<7} fetch {:>7.3} ms  settle {:>7.3} ms  {:>8.0} msg/s",
            ms(fetching),
            ms(settling),
            1_000.0 / (fetching + settling).as_secs_f64()
        );
    }
    println!("{BATCH} fetched and settled, {name:<5} processor time {cpu:>7.3} ms");
}

async fn open() -> AnyResult<Bench> {
    let url = std::env::var("IOBOX_TEST_POSTGRES_URL")?;
    let mut person = PgConnection::connect_with(&PgConnectOptions::from_str(&url)?).await?;
    sqlx::raw_sql("drop schema if exists iobox_throughput cascade")
        .execute(&mut person)
        .await?;
    let config = Config::builder().schema(SCHEMA).build()?;
    let store = PostgresStore::connect_url(&url, config).await?;
    store.migrate().await?;
    let instance = InstanceId::new(Uuid::now_v7());
    store
        .renew(&RenewRequest {
            queue: Queue::Outbox,
            instance,
            ttl: Duration::from_secs(3_600),
            register: true,
            in_flight: 0,
        })
        .await?;
    let acquired = store
        .acquire(&AcquireRequest {
            queue: Queue::Outbox,
            instance,
            held: Vec::new(),
        })
        .await?;
    let held = match acquired {
        Acquired::Share { granted, .. } => granted
            .iter()
            .map(|grant| (grant.partition, grant.epoch))
            .collect(),
        Acquired::Gone => Vec::new(),
    };
    Ok(Bench {
        store,
        person,
        held,
    })
}

#[tokio::main]
async fn main() -> AnyResult<()> {
    let mut bench = open().await?;
    let all = bench.held.clone();
    let one = &all[3..4];

    bench
        .fetch("16 partitions, empty", &bench.request(&all, BATCH))
        .await?;
    bench.fill(BACKLOG).await?;
    bench
        .fetch("1 partition, 1 M backlog", &bench.request(one, BATCH))
        .await?;
    bench
        .fetch("16 partitions, 1 M backlog", &bench.request(&all, BATCH))
        .await?;
    bench
        .fetch("limit 10, 1 M backlog", &bench.request(one, 10))
        .await?;
    let mut held = bench.request(one, BATCH);
    held.partitions[0].held = bench
        .store
        .fetch(&held)
        .await?
        .pending
        .iter()
        .map(|row| row.seq)
        .collect();
    bench.fetch("1,000 held, 1 M backlog", &held).await?;

    for _ in 0..2 {
        bench.compare(all[3], all[5].0).await?;
        bench.fill(BACKLOG).await?;
    }

    // One key with 50,000 rows in front.
    bench
        .run(
            "update message set key = 'hot' where partition = 3 and seq in
              (select seq from message where partition = 3 order by seq limit 50000)",
        )
        .await?;
    let mut full = bench.request(one, BATCH);
    full.partitions[0].full = vec![iobox_core::message::OrderingKey::new("hot")?];
    bench
        .fetch("50,000 rows of one full key in front", &full)
        .await?;

    // 300,000 rows wait behind one that is dead.
    bench
        .run(
            "update message set partition = 3, key = 'halted', state = 2
              where seq in (select seq from message where partition <> 3 limit 300000)",
        )
        .await?;
    bench
        .run(
            "update message set state = 3, halts = true where state = 2 and seq =
              (select min(seq) from message where state = 2)",
        )
        .await?;
    bench
        .fetch(
            "300,000 waiting, statistics of before",
            &bench.request(one, BATCH),
        )
        .await?;
    bench.run("vacuum analyze message").await?;
    bench
        .fetch("300,000 waiting", &bench.request(one, BATCH))
        .await?;
    let mut sweep = bench.request(one, BATCH);
    sweep.partitions[0].sweep = true;
    bench.fetch("300,000 waiting, with a sweep", &sweep).await?;

    // Everything is done; nothing is left to do.
    bench
        .run("update message set state = 4, settled_at = now(), halts = false")
        .await?;
    bench
        .fetch("all done, before vacuum", &bench.request(&all, BATCH))
        .await?;
    bench.run("vacuum analyze message").await?;
    bench
        .fetch("all done, 1 M rows of history", &bench.request(&all, BATCH))
        .await?;

    bench.enqueueing().await?;
    sqlx::raw_sql("drop schema iobox_throughput cascade")
        .execute(&mut bench.person)
        .await?;
    Ok(())
}
