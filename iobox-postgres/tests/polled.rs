//! Calls that are dropped at each of their polls leave no session of the store in a transaction.
//!
//! What becomes of the rows stands in the conformance suite (`polled`); here the server itself is asked.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iobox_core::{
    inbox::{Delivery, HandlerName, SourceName, Subscription, TopicPattern},
    message::Draft,
    queue::Queue,
    source::Position,
    store::{
        AcquireRequest, Enqueue as _, Epoch, Ingest as _, IngestRequest, InstanceId, Receive as _,
        ReleaseRequest, RenewRequest, Store as _, Subscribe as _, Transact as _,
    },
};
use iobox_postgres::PostgresStore;
use iobox_testkit::poll_n_then_drop;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use crate::support::{DONE, Owner, Schema, connection, enqueue, number, options};

const POLLS: usize = 50;
/// How long what a dropped call left behind may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sessions of stores that stand idle in a transaction.
const OPEN: &str = "select count(*) from pg_stat_activity where application_name = 'iobox'
  and datname = current_database() and state like 'idle in transaction%'";

/// A store of its own.
struct Desk {
    schema: Schema,
    store: Arc<PostgresStore>,
}

impl Desk {
    async fn new() -> Self {
        let schema = Schema::new();
        let store = schema
            .store(schema.config().pool_size(2).partitions(1))
            .await;
        store.migrate().await.expect("migrate");
        let subscription = Subscription {
            pattern: TopicPattern::new("t").expect("a pattern"),
            handler: HandlerName::new("a").expect("a name"),
        };
        store.subscribe(&[subscription]).await.expect("subscribe");
        Self { schema, store }
    }

    /// Waits for a moment in which no session of a store stands idle in a transaction. The tests beside
    /// this one have some for moments; one that a dropped call left open would stand there for ever.
    async fn rests(&self, n: usize) {
        let mut person = connection().await;
        let begun = Instant::now();
        while number(&mut person, OPEN).await > 0 {
            assert!(begun.elapsed() < PATIENCE, "dropped at poll {n}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Drops what a call makes at each poll, and looks after each.
macro_rules! dropped {
    ($($name:ident: |$desk:ident, $owner:ident, $n:ident| $call:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let $desk = Desk::new().await;
                let drafts: Vec<_> = (0..=POLLS).map(|n| Draft::new("t", n.to_string())).collect();
                enqueue(&$desk.store, &drafts).await;
                let $owner = Owner::new(&$desk.store).await;
                for $n in 0..=POLLS {
                    let _ = poll_n_then_drop($call, $n).await;
                    $desk.rests($n).await;
                }
                // Every connection of the pool works for everybody: what is written through it is seen.
                let rows = $owner.fetch(5).await.pending;
                $owner.settle(&rows, &DONE).await;
                let done = format!(
                    "select count(*) from \"{}\".outbox where state = 'done'",
                    $desk.schema.0
                );
                let done = number(&mut connection().await, done).await;
                assert!(done >= i64::try_from(rows.len()).expect("a few"));
            }
        )*
    };
}

dropped! {
    an_enqueue: |desk, owner, n| async {
        let mut connection = options().application_name("iobox").connect().await.expect("open");
        let mut tx = connection.begin().await.expect("begin");
        let _ = desk.store.enqueue(&mut tx, &[Draft::new("t", "never")]).await;
    };
    a_fetch: |desk, owner, n| async { drop(desk.store.fetch(&owner.request(10)).await) };
    a_settle: |desk, owner, n| async {
        let rows = owner.fetch(1).await.pending;
        let settlements: Vec<_> = rows.iter().map(|row| owner.settlement(row, DONE)).collect();
        drop(desk.store.settle(&settlements).await);
    };
    a_renewal: |desk, owner, n| async {
        let request = RenewRequest {
            queue: Queue::Outbox,
            instance: owner.instance,
            ttl: Duration::from_secs(60),
            register: true,
            in_flight: 0,
        };
        drop(desk.store.renew(&request).await);
    };
    an_acquisition: |desk, owner, n| async {
        let held = owner.granted.iter().map(|grant| (grant.partition, grant.epoch));
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: owner.instance,
            held: held.collect(),
        };
        drop(desk.store.acquire(&request).await);
    };
    a_release: |desk, owner, n| async {
        let request = ReleaseRequest {
            queue: Queue::Outbox,
            instance: InstanceId::new(Uuid::now_v7()),
            partitions: Vec::new(),
            leave: true,
        };
        drop(desk.store.release(&request).await);
    };
    a_reception: |desk, owner, n| async {
        let draft = Draft::new("t", "x").id(n.to_string());
        let delivery = Delivery::foreign(&draft).expect("a delivery");
        let source = SourceName::new("shop").expect("a name");
        drop(desk.store.receive(&source, &[delivery]).await);
    };
    an_ingest: |desk, owner, n| async {
        // Refused at its end, since nobody holds the right; that is rolled back.
        let draft = Draft::new("t", "x").id(n.to_string());
        let request = IngestRequest {
            epoch: Epoch(0),
            from: None,
            to: Position::new(n.to_string()).expect("a position"),
            deliveries: vec![Delivery::foreign(&draft).expect("a delivery")],
        };
        let source = SourceName::new("shop").expect("a name");
        drop(desk.store.ingest_of(&source).await);
        drop(desk.store.ingest(&source, &request).await);
    };
    a_handling: |desk, owner, n| async {
        let mut tx = desk.store.begin_handling().await.expect("begin");
        drop(desk.store.enqueue(&mut tx, &[Draft::new("t", "effect")]).await);
        drop(desk.store.commit_handling(tx).await);
    };
}
