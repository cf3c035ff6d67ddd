//! The stores: enqueueing, relaying, dead letters, rows that were spoiled.

use std::{sync::Arc, time::Duration};

use iobox::{
    Outbox, Relay,
    dispatch::RetryPolicy,
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Message, MessageId},
    partition::Partitions,
    postgres::{self, PostgresStore},
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
    queue::Queue,
    sqlite::{self, Failure, SqliteStore},
    store::{Admin, Enqueue, Filter, Page, Store, Transact},
};
use iobox_testkit::servers::{Postgres, unique_schema};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    capture::Capture,
    plant::{PRIVATE, SECRET, SPECIAL, draft},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Refuses each message in another way, by its id, and takes the rest.
#[derive(Debug)]
struct Refusing;

#[async_trait::async_trait]
impl Publisher for Refusing {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        for (index, message) in batch.iter().enumerate() {
            // What a person reads may forge a line, or make a terminal do things.
            let reason = || String::from("no\nFORGED line\u{1b}[2J");
            outcomes.report(
                index,
                match message.id().as_str() {
                    "permanent" => Err(PublishError::Permanent(reason())),
                    "transient" => Err(PublishError::Transient(reason())),
                    "unknown" => Err(PublishError::Unknown(reason())),
                    _ => Ok(Receipt::new()),
                },
            );
        }
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        Ok(Durability::PageCache)
    }
}

/// Enqueues and relays until some are dead, and takes all that a person would be shown.
async fn relayed<S: Store + Admin + Enqueue + Clone>(capture: &Capture, name: &str, store: S) {
    let policy = RetryPolicy::new(Duration::from_millis(2), Duration::from_millis(10), 2);
    let builder = Relay::builder(store.clone(), Refusing)
        .retry(policy.expect("a policy"))
        .poll(Duration::from_millis(2), Duration::from_millis(20));
    capture.debug("builder", &builder);
    let relay = builder.build().expect("a relay");
    capture.debug("relay", &relay);
    let handle = relay.spawn();
    capture.debug("handle", &handle);
    capture.debug("health", &handle.health().report());
    let dead = || async {
        let stats = store.stats(&Queue::Outbox).await.expect("stats");
        capture.debug("stats", &stats);
        // One is permanent, one used up its attempts, one was spoiled.
        stats.dead >= 3
    };
    let waiting = async {
        while !dead().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let died = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(died.is_ok(), "three messages of {name} die");
    let drained = handle.drain().await;
    capture.debug("drained", &drained);
    for id in ["permanent", "transient", "unknown", "spoiled", "fine"] {
        let id = MessageId::new(id).expect("an id");
        let entry = store.get(&Queue::Outbox, &id).await.expect("an answer");
        capture.debug("entry", &entry);
    }
    let page = Page::default();
    let listed = store.list(&Queue::Outbox, &Filter::default(), page).await;
    capture.debug("listed", &listed);
    let bad = Draft::new("orders", SECRET).key(format!("{PRIVATE}\n"));
    capture.debug("draft", &bad);
}

const IDS: [&str; 5] = ["permanent", "transient", "unknown", "spoiled", "fine"];

pub(crate) async fn memory(capture: &Capture) {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let outbox = Outbox::new(store.clone());
    let mut tx = store.begin();
    outbox
        .enqueue(&mut tx, IDS.map(draft))
        .await
        .expect("enqueue");
    let again = outbox.enqueue(&mut tx, [draft("fine")]).await;
    capture.debug("duplicate", &again);
    capture.debug("transaction", &tx);
    tx.commit().expect("commit");
    for bad in [
        draft("a").key(format!("{PRIVATE}\0")),
        draft("a").header("tenant", SECRET),
        draft("a").header("b c", SECRET),
        draft("a").header("b", format!("{SECRET}\r\n")),
        draft(&format!("{SECRET}\n")),
        Draft::new(format!("a b{SECRET}"), SECRET),
        Draft::new("a", SECRET.repeat(100_000)),
    ] {
        let mut tx = store.begin();
        let refused = outbox.enqueue(&mut tx, bad).await;
        capture.refused("a bad draft", refused);
    }
    store.corrupt(
        &MessageId::new("spoiled").expect("an id"),
        "topic breaks a bound",
    );
    capture.debug("memory", &store);
    capture.debug("outbox", &outbox);
    relayed(capture, "memory", store.clone()).await;
    let broker = MemoryBroker::new();
    broker
        .publish(
            &[super::plant::secret("m", "t")],
            &mut Outcomes::new(1, |_, _| {}),
        )
        .await;
    capture.debug("broker", &broker);
    capture.debug("published", &broker.read(0, 10));
}

pub(crate) async fn sqlite(capture: &Capture) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let store = SqliteStore::open(sqlite::Config::new(&path)).expect("a store");
    capture.debug("sqlite", &store);
    store.migrate().await.expect("migrate");
    let enqueued = store.clone();
    let written = store.write(move |tx| -> Result<(), Failure> {
        tx.execute("CREATE TABLE t (a TEXT UNIQUE)", ())?;
        enqueued.enqueue_sync(tx, &IDS.map(draft))?;
        Ok(())
    });
    written.await.expect("enqueue");
    // A constraint of the application's, whose error must not quote the row.
    let twice = store.write(|tx| -> Result<(), Failure> {
        tx.execute("INSERT INTO t VALUES (?1), (?1)", [SECRET])?;
        Ok(())
    });
    capture.refused("a constraint", twice.await);
    let panicked =
        store.write(|_| -> Result<(), Failure> { panic!("FORGE\nFORGED line\u{1b}[2J") });
    capture.refused("a panic", panicked.await);
    let tx = store.begin().await.expect("a transaction");
    capture.debug("transaction", &tx);
    tx.rollback().await.expect("rollback");
    let edit = format!(
        "UPDATE iobox_content SET headers = '[[\"a\",\"{SECRET}\",\"{PRIVATE}\"]]' WHERE seq = \
         (SELECT seq FROM iobox_outbox WHERE id = 'spoiled')"
    );
    let spoiled =
        sqlite::rusqlite::Connection::open(&path).and_then(|file| file.execute(&edit, ()));
    assert_eq!(spoiled.ok(), Some(1));
    relayed(capture, "sqlite", store).await;
    let nowhere = folder.path().join("no/such/folder.db");
    capture.refused("no folder", SqliteStore::open(sqlite::Config::new(nowhere)));
}

pub(crate) async fn postgres(capture: &Capture) {
    let server = tokio::task::spawn_blocking(Postgres::shared).await;
    let server: Arc<Postgres> = server.expect("no panic").expect("a Postgres");
    let mut person = PgConnection::connect(server.url())
        .await
        .expect("a connection");
    let schema = unique_schema("canary");
    let config = || {
        postgres::Config::builder()
            .schema(&schema)
            .build()
            .expect("a configuration")
    };
    capture.debug("configuration", &config());
    // The server of the tests trusts everybody, so that the password reaches the driver and no more.
    let parameters = format!("sslpassword={SECRET}&pasword={SECRET}");
    let with_password = |password: &str| {
        let (scheme, rest) = server.url().split_once("://").expect("a URL");
        let (user, host) = rest.split_once('@').unwrap_or(("postgres", rest));
        let user = user.split(':').next().unwrap_or(user);
        let join = if host.contains('?') { '&' } else { '?' };
        format!("{scheme}://{user}:{password}@{host}{join}{parameters}")
    };
    for url in [
        format!("postgres://app:{}@127.0.0.1:1/x?{parameters}", SPECIAL.1),
        format!("postgres://app:{SECRET}@127.0.0.1:port/x"),
        format!("postgres://{SECRET}:x@db.example.test/x"),
        format!("http://app:{SECRET}@localhost/x"),
        String::from(SECRET),
    ] {
        let refused = PostgresStore::connect_url(&url, config()).await;
        capture.refused("a URL", refused);
    }
    let store = PostgresStore::connect_url(&with_password(SPECIAL.1), config()).await;
    let store = store.expect("a store");
    store.migrate().await.expect("migrate");
    capture.debug("postgres", &store);
    let session = store.begin_handling().await.expect("a transaction");
    capture.debug("session", &session);
    drop(session);
    let mut tx = person.begin().await.expect("begin");
    store
        .enqueue(&mut tx, &IDS.map(draft))
        .await
        .expect("enqueue");
    tx.commit().await.expect("commit");
    let constraint = format!(
        "alter table \"{schema}\".message add constraint theirs check (topic <> 'refused')"
    );
    let added = sqlx::raw_sql(AssertSqlSafe(constraint))
        .execute(&mut person)
        .await;
    added.expect("a person may do that");
    // Bound, since the driver logs the text of statements.
    let spoil = format!("update \"{schema}\".message set headers = $1 where id = 'spoiled'");
    let spoiled = sqlx::query(AssertSqlSafe(spoil))
        .bind(format!("[[\"a\",\"{SECRET}\",\"{PRIVATE}\"]]"))
        .execute(&mut person)
        .await;
    assert_eq!(spoiled.expect("a person may do that").rows_affected(), 1);
    let refused = [Draft::new("refused", SECRET)
        .key(PRIVATE)
        .header("tenant", PRIVATE)];
    let refused = store.enqueue(&mut person, &refused).await;
    capture.refused("a constraint", refused);
    relayed(capture, "postgres", store.clone()).await;
    store.close().await;
    capture.refused("a closed store", store.stats(&Queue::Outbox).await);
    let drop = format!("drop schema \"{schema}\" cascade");
    let dropped = sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut person)
        .await;
    dropped.expect("the schema is dropped");
}
