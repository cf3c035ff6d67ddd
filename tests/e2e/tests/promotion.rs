//! A Postgres that comes back without what it had committed, as a promoted standby does that had not got
//! everything: numbers are given again, and nobody takes a new message for a lost one.

#![allow(
    clippy::disallowed_methods,
    reason = "servers and ids live on the machine"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox::{
    Relay,
    message::{Draft, Message},
    postgres::{Config, PostgresStore},
    publisher::{Durability, Outcomes, Publisher, Receipt},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin as _, Change, Enqueue as _, FetchPartition, FetchRequest,
        Grant, InstanceId, Pending, RenewRequest, Renewed, Settled, Settlement, Store as _,
        Verdict,
    },
};
use iobox_testkit::servers::Postgres;
use sqlx::{Connection as _, PgConnection};
use support::{LONG, POLL, answered, until};
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// Longer than a server takes to come back.
const TTL: Duration = Duration::from_secs(30);

/// A server whose data folder a test puts back.
#[derive(Debug)]
struct Standby {
    server: Postgres,
    data: PathBuf,
    store: PostgresStore,
}

impl Standby {
    /// With tables of one partition.
    async fn new() -> Self {
        let server = spawn_blocking(Postgres::private).await.expect("no panic");
        let server = server.expect("a server of its own");
        let config = Config::builder().partitions(1).build();
        let store = PostgresStore::connect_url(server.url(), config.expect("a configuration"));
        let store = store.await.expect("a store");
        store.migrate().await.expect("tables");
        let mut connection = PgConnection::connect(server.url())
            .await
            .expect("a session");
        let folder: String = sqlx::query_scalar("select current_setting('data_directory')")
            .fetch_one(&mut connection)
            .await
            .expect("the folder of the data");
        Self {
            server,
            data: PathBuf::from(folder),
            store,
        }
    }

    /// All that the standby gets.
    fn replicate(&mut self) {
        self.server.stop().expect("a stop");
        copy(&self.data, &self.data.with_extension("standby"));
        self.server.start().expect("a start");
    }

    /// The server is lost with what came later, and the standby is promoted in its place.
    fn promote(&mut self) {
        self.server.kill().expect("a kill");
        fs::remove_dir_all(&self.data).expect("the data of the lost server");
        copy(&self.data.with_extension("standby"), &self.data);
        // There is no more to be had: it takes over, on a timeline of its own.
        fs::copy(
            self.data.join("PG_VERSION"),
            self.data.join("recovery.signal"),
        )
        .expect("a signal");
        copy_owner(
            &self.data.join("PG_VERSION"),
            &self.data.join("recovery.signal"),
        );
        let settings = self.data.join("postgresql.auto.conf");
        let text = fs::read_to_string(&settings).expect("settings");
        fs::write(&settings, text + "\nrestore_command = 'false'\n").expect("settings");
        self.server.start().expect("a start");
    }

    async fn timeline(&self) -> String {
        let sql = "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) where not pg_is_in_recovery()";
        let mut timeline = None;
        until(LONG, "the end of the recovery", async || {
            let Ok(mut connection) = PgConnection::connect(self.server.url()).await else {
                return false;
            };
            let row = sqlx::query_scalar(sql)
                .fetch_optional(&mut connection)
                .await;
            timeline = row.expect("a timeline");
            timeline.is_some()
        })
        .await;
        timeline.expect("a timeline")
    }

    /// Again when the store meets one of its connections that are dead.
    async fn enqueue(&self, id: &str) {
        answered(async || {
            let mut connection = PgConnection::connect(self.server.url())
                .await
                .expect("a session");
            let mut tx = connection.begin().await.expect("a transaction");
            let draft = Draft::new("orders", id.to_owned()).key("k").id(id);
            self.store.enqueue(&mut tx, &[draft]).await?;
            tx.commit().await.expect("a commit");
            Ok(())
        })
        .await;
    }

    async fn unsettled(&self) -> u64 {
        let stats = answered(async || self.store.stats(&Queue::Outbox).await).await;
        stats.unsettled()
    }

    async fn claim(&self) -> Claim {
        let mut claim = Claim {
            store: self.store.clone(),
            instance: InstanceId::new(Uuid::now_v7()),
            grants: Vec::new(),
        };
        claim.register().await;
        claim.acquire().await;
        claim
    }
}

/// As it is, with its owners.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp").success(), "{}", from.display());
}

fn copy_owner(from: &Path, to: &Path) {
    let status = Command::new("chown")
        .arg("--reference")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.expect("chown").success(), "{}", to.display());
}

/// An instance and what it was granted.
struct Claim {
    store: PostgresStore,
    instance: InstanceId,
    grants: Vec<Grant>,
}

impl Claim {
    async fn register(&self) {
        let request = RenewRequest {
            queue: Queue::Outbox,
            instance: self.instance,
            ttl: TTL,
            register: true,
            in_flight: 0,
        };
        let renewed = answered(async || self.store.renew(&request).await).await;
        assert_eq!(renewed, Renewed::Alive);
    }

    /// Acquires as one that holds nothing.
    async fn acquire(&mut self) {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: self.instance,
            held: Vec::new(),
        };
        let acquired = answered(async || self.store.acquire(&request).await).await;
        let Acquired::Share { granted, .. } = acquired else {
            panic!("the instance is gone");
        };
        assert_eq!(granted.len(), 1);
        self.grants = granted;
    }

    async fn fetch(&self) -> Pending {
        let part = |grant: &Grant| FetchPartition {
            partition: grant.partition,
            epoch: grant.epoch,
            limit: 10,
            held: Vec::new(),
            full: Vec::new(),
            release: Vec::new(),
            sweep: false,
        };
        let request = FetchRequest {
            queue: Queue::Outbox,
            partitions: self.grants.iter().map(part).collect(),
            limit: 10,
            bytes: 1 << 20,
        };
        let fetched = answered(async || self.store.fetch(&request).await).await;
        let [row] = &fetched.pending[..] else {
            panic!("{:?}", fetched.pending);
        };
        row.clone()
    }

    async fn settle(&self, row: &Pending) -> Settled {
        let settlement = Settlement {
            partition: row.partition,
            epoch: self.grants[0].epoch,
            seq: row.seq,
            revision: row.revision,
            attempt: row.attempt + 1,
            change: Change::Verdict(Verdict::Done { duplicate: false }),
        };
        let settled = answered(async || self.store.settle(std::slice::from_ref(&settlement)).await);
        settled.await[0]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_from_before_settles_nothing() {
    let mut standby = Standby::new().await;
    let mut claim = standby.claim().await;
    standby.replicate();
    standby.enqueue("lost").await;
    let lost = claim.fetch().await;
    standby.promote();
    assert_eq!(standby.timeline().await, "00000002");

    standby.enqueue("new").await;
    let new = claim.fetch().await;
    assert_eq!(
        (new.partition, new.seq, new.revision),
        (lost.partition, lost.seq, lost.revision)
    );
    assert_eq!(claim.settle(&lost).await, Settled::LeaseLost);

    // It gets the partition back at once, and has the message.
    claim.acquire().await;
    assert_eq!(claim.fetch().await.seq, new.seq);
    assert_eq!(claim.settle(&new).await, Settled::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_lost_is_not_given_to_another() {
    let mut standby = Standby::new().await;
    standby.replicate();
    let before = standby.claim().await;
    standby.enqueue("lost").await;
    let lost = before.fetch().await;
    standby.promote();
    assert_eq!(standby.timeline().await, "00000002");

    standby.enqueue("new").await;
    let after = standby.claim().await;
    let new = after.fetch().await;
    assert_eq!(
        (new.partition, new.seq, new.revision),
        (lost.partition, lost.seq, lost.revision)
    );
    assert!(after.grants[0].epoch > before.grants[0].epoch);
    assert_eq!(before.settle(&lost).await, Settled::LeaseLost);
    assert_eq!(after.settle(&new).await, Settled::Applied);
}

/// A broker that is slow to confirm.
#[derive(Debug, Default)]
struct Slow {
    got: Mutex<Vec<String>>,
    confirms: AtomicBool,
}

impl Slow {
    fn got(&self) -> Vec<String> {
        self.got.lock().expect("no panic").clone()
    }
}

/// Shared with the test.
#[derive(Debug, Clone, Default)]
struct Publishing(Arc<Slow>);

#[async_trait]
impl Publisher for Publishing {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let ids = batch.iter().map(|message| message.id().to_string());
        self.0.got.lock().expect("no panic").extend(ids);
        while !self.0.confirms.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL).await;
        }
        for index in 0..batch.len() {
            outcomes.report(index, Ok(Receipt::new()));
        }
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        Ok(Durability::Synced)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_went_on_publishes_the_new_message() {
    let mut standby = Standby::new().await;
    let broker = Publishing::default();
    let relay = Relay::builder(standby.store.clone(), broker.clone())
        .time_to_live(TTL)
        .build()
        .expect("a relay")
        .spawn();
    // What it holds, it holds on the standby too.
    broker.0.confirms.store(true, Ordering::Relaxed);
    standby.enqueue("first").await;
    until(LONG, "the first message to be done", async || {
        broker.0.got() == ["first"] && standby.unsettled().await == 0
    })
    .await;
    standby.replicate();
    broker.0.confirms.store(false, Ordering::Relaxed);
    standby.enqueue("lost").await;
    until(LONG, "the lost message at the broker", async || {
        broker.0.got() == ["first", "lost"]
    })
    .await;
    standby.promote();
    assert_eq!(standby.timeline().await, "00000002");
    standby.enqueue("new").await;

    broker.0.confirms.store(true, Ordering::Relaxed);
    until(LONG, "all to be done", async || {
        standby.unsettled().await == 0
    })
    .await;
    assert_eq!(broker.0.got(), ["first", "lost", "new"]);
    relay.drain().await.expect("a drain");
}
