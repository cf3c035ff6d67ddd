//! A Postgres in whose place a standby is promoted, and an instance that holds its partition.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use iobox::{
    inbox::Received,
    message::Draft,
    postgres::{Config, PostgresStore},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin as _, Change, Enqueue as _, FetchPartition, FetchRequest,
        Grant, InstanceId, Pending, Receive as _, RenewRequest, Renewed, Settled, Settlement,
        Store as _, Verdict,
    },
};
use iobox_testkit::{
    servers::Postgres,
    suite::inbox::support::{delivery, source},
};
use sqlx::{Connection as _, PgConnection};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{LONG, answered, until};

/// Longer than a test takes.
const CLAIM: Duration = Duration::from_secs(3_600);

/// Of tables with one partition.
pub(crate) fn config() -> Config {
    let config = Config::builder().partitions(1).build();
    config.expect("a configuration")
}

/// A server whose data folder a test puts back.
#[derive(Debug)]
pub(crate) struct Standby {
    pub(crate) server: Postgres,
    data: PathBuf,
    pub(crate) store: PostgresStore,
}

impl Standby {
    /// With tables of one partition.
    pub(crate) async fn new() -> Self {
        let server = spawn_blocking(Postgres::private).await.expect("no panic");
        let server = server.expect("a server of its own");
        let store = PostgresStore::connect_url(server.url(), config());
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
    pub(crate) fn replicate(&mut self) {
        self.server.stop().expect("a stop");
        copy(&self.data, &self.data.with_extension("standby"));
        self.server.start().expect("a start");
    }

    /// The server is lost with what came later, and the standby is promoted in its place.
    pub(crate) async fn promote(&mut self) {
        self.server.stop().expect("a stop");
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
        assert_eq!(self.timeline().await, "00000002");
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
    pub(crate) async fn enqueue(&self, id: &str) {
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

    pub(crate) async fn unsettled(&self) -> u64 {
        let stats = answered(async || self.store.stats(&Queue::Outbox).await).await;
        stats.unsettled()
    }

    pub(crate) async fn receive(&self, topic: &str, id: &str) -> Received {
        let deliveries = [delivery(topic, id, "")];
        let received = answered(async || self.store.receive(&source(), &deliveries).await);
        received.await.remove(0)
    }

    pub(crate) async fn claim(&self) -> Claim {
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
pub(crate) struct Claim {
    store: PostgresStore,
    instance: InstanceId,
    pub(crate) grants: Vec<Grant>,
}

impl Claim {
    async fn register(&self) {
        let request = RenewRequest {
            queue: Queue::Outbox,
            instance: self.instance,
            ttl: CLAIM,
            register: true,
            in_flight: 0,
        };
        let renewed = answered(async || self.store.renew(&request).await).await;
        assert_eq!(renewed, Renewed::Alive);
    }

    /// Acquires, naming what it was granted, as an instance does that was refused nothing yet.
    pub(crate) async fn acquire(&mut self) {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: self.instance,
            held: self
                .grants
                .iter()
                .map(|grant| (grant.partition, grant.epoch))
                .collect(),
        };
        let acquired = answered(async || self.store.acquire(&request).await).await;
        let Acquired::Share { granted, .. } = acquired else {
            panic!("the instance is gone");
        };
        assert_eq!(granted.len(), 1);
        self.grants = granted;
    }

    pub(crate) async fn fetch(&self) -> Pending {
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

    pub(crate) async fn settle(&self, row: &Pending) -> Settled {
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
