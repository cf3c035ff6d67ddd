//! The fence: while partitions change hands as fast as they can, no stale settle is applied.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iobox_core::{
    message::Draft,
    partition::Partition,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Epoch, InstanceId, RenewRequest, Seq, Settled, Settlement, Store,
    },
};
use iobox_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::support::{DONE, Owner, Schema, connection, enqueue, number, run, until_locked_out};

const PARTITIONS: u16 = 4;

/// Records, in the tables themselves, under which epoch the partition of a row stood when the row
/// was settled. The trigger runs in the settle's own statement and takes the lock that the fence holds
/// already, so that it sees what is true at that moment.
async fn watch(schema: &Schema) {
    let sql = format!(
        "create table \"{0}\".seen (seq bigint, epoch bigint, owned boolean);
         create function \"{0}\".watch() returns trigger language plpgsql as $$
         begin
           insert into \"{0}\".seen
             select s.seq, p.epoch, p.owner is not null
             from \"{0}\".partition as p cross join unnest(new.seqs) as s (seq)
             where p.partition = new.partition for share of p;
           return null;
         end $$;
         create trigger watch after insert on \"{0}\".settled
           for each row execute function \"{0}\".watch()",
        schema.0
    );
    run(&mut connection().await, sql).await;
}

/// Raises epochs again and again: each round is a new instance that takes everything over.
async fn take_over(schema: String, stop: Arc<AtomicBool>) -> u64 {
    let mut person = connection().await;
    let sql = format!(
        "with free as (select partition from \"{schema}\".partition order by partition
           for update skip locked)
         update \"{schema}\".partition as p set owner = gen_random_uuid(),
           epoch = greatest(p.epoch, (\"{schema}\".timeline() - 1) << 32) + 1
         from free where p.partition = free.partition"
    );
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        run(&mut person, sql.clone()).await;
        rounds += 1;
        // Some leave the settlers the time to win, and some do not.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..12))).await;
    }
    rounds
}

/// Settles under the epochs that it read a moment ago; returns under which epoch each row was
/// settled, and how many settlements were refused.
async fn settle(
    schema: String,
    store: Arc<PostgresStore>,
    stop: Arc<AtomicBool>,
) -> (Vec<(Seq, Epoch)>, usize) {
    let mut person = connection().await;
    let epochs = format!("select partition, epoch from \"{schema}\".partition");
    let open = format!(
        "select partition, seq, 0 from \"{schema}\".outbox
         where state = 'pending' order by random() limit 12"
    );
    let (mut applied, mut refused) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let rows = sqlx::query(AssertSqlSafe(open.clone()))
            .fetch_all(&mut person)
            .await
            .unwrap();
        if rows.is_empty() {
            break;
        }
        // The epochs last: takers raise them all the time.
        let held: HashMap<i16, i64> = sqlx::query(AssertSqlSafe(epochs.clone()))
            .fetch_all(&mut person)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        let batch: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let partition: i16 = row.get(0);
                Settlement {
                    partition: Partition::new(u8::try_from(partition).unwrap()),
                    epoch: Epoch(held[&partition]),
                    seq: Seq(row.get(1)),
                    revision: iobox_core::store::Revision(row.get(2)),
                    attempt: 1,
                    change: DONE,
                }
            })
            .collect();
        // What two settlers picked together may deadlock on row locks taken in the same order
        // never; a conflict would be an error here.
        for (settlement, settled) in batch.iter().zip(store.settle(&batch).await.unwrap()) {
            match settled {
                Settled::Applied => {
                    applied.push((settlement.seq, settlement.epoch));
                }
                Settled::LeaseLost => refused += 1,
                Settled::Superseded => {}
            }
        }
    }
    (applied, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stale_settle_is_ever_applied() {
    let schema = Schema::new();
    let store = schema.migrated(PARTITIONS).await;
    let drafts: Vec<_> = (0..4_000)
        .map(|n| Draft::new("t", format!("{n}")))
        .collect();
    enqueue(&store, &drafts).await;
    watch(&schema).await;
    let stop = Arc::new(AtomicBool::new(false));
    let takers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(take_over(schema.0.clone(), Arc::clone(&stop))))
        .collect();
    let settlers: Vec<_> = (0..3)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(settle(schema.0.clone(), store, Arc::clone(&stop)))
        })
        .collect();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(6) && !settlers.iter().all(|s| s.is_finished()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut rounds = 0;
    for taker in takers {
        rounds += taker.await.unwrap();
    }
    let (mut told, mut refused) = (HashMap::<Seq, Vec<Epoch>>::new(), 0);
    for settler in settlers {
        let (applied, lost) = settler.await.unwrap();
        for (seq, epoch) in applied {
            told.entry(seq).or_default().push(epoch);
        }
        refused += lost;
    }
    // The trigger saw, inside of each settle, the epoch that the settlement named.
    let seen = sqlx::query(AssertSqlSafe(format!(
        "select seq, epoch, owned from \"{}\".seen",
        schema.0
    )))
    .fetch_all(&mut connection().await)
    .await
    .unwrap();
    assert!(
        !seen.is_empty() && refused > 0 && rounds > 10,
        "it was a race: {} settled, {refused} refused, {rounds} takeovers",
        seen.len()
    );
    for row in &seen {
        let (seq, epoch, owned): (i64, i64, bool) = (row.get(0), row.get(1), row.get(2));
        assert!(owned);
        if let Some(told) = told.get(&Seq(seq)) {
            // What somebody else settled already is told to be applied as well.
            let named = told.iter().any(|told| told.0 == epoch);
            assert!(
                named,
                "a stale settle of {seq} was applied: {epoch} is not in {told:?}"
            );
        }
    }
    let done = format!(
        "select count(*) from \"{}\".outbox where state = 'done'",
        schema.0
    );
    let done = number(&mut connection().await, done).await;
    assert_eq!(
        done,
        i64::try_from(seen.len()).unwrap(),
        "each row changed once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_waits_for_a_takeover_under_way_and_is_refused() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    enqueue(&store, &[Draft::new("t", "x")]).await;
    let owner = Owner::new(&store).await;
    let rows = owner.fetch(1).await.pending;
    let mut taker = connection().await;
    let taken = format!(
        "begin; update \"{}\".partition set epoch = epoch + 1, owner = gen_random_uuid()",
        schema.0
    );
    run(&mut taker, taken).await;
    let settling = {
        let store = Arc::clone(&store);
        let settlement = owner.settlement(&rows[0], DONE);
        tokio::spawn(async move { store.settle(&[settlement]).await.unwrap() })
    };
    until_locked_out(&schema, 1, &settling).await;
    run(&mut taker, "commit").await;
    assert_eq!(settling.await.unwrap(), [Settled::LeaseLost]);
    let open = format!(
        "select count(*) from \"{}\".outbox where state = 'pending'",
        schema.0
    );
    assert_eq!(number(&mut connection().await, open).await, 1);
}

/// A taker whose snapshot is older than somebody else's takeover does not take it back, though the
/// snapshot shows the partition as free and the other instance not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_taker_with_an_old_snapshot_takes_nothing_from_a_live_owner() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let late = InstanceId::new(Uuid::now_v7());
    store
        .renew(&RenewRequest {
            queue: Queue::Outbox,
            instance: late,
            ttl: Duration::from_secs(60),
            register: true,
            in_flight: 0,
        })
        .await
        .unwrap();
    // The late taker has its snapshot and waits for the lock of its own row.
    let mut holder = connection().await;
    let hold = format!(
        "begin; select from \"{}\".instance where id = '{late}' for update",
        schema.0
    );
    run(&mut holder, hold).await;
    let acquiring = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let request = AcquireRequest {
                queue: Queue::Outbox,
                instance: late,
                held: Vec::new(),
            };
            store.acquire(&request).await.unwrap()
        })
    };
    until_locked_out(&schema, 1, &acquiring).await;
    let other = format!(
        "insert into \"{0}\".instance select 'outbox', gen_random_uuid(), now(), now() + '1 h', 0;
         update \"{0}\".partition
           set epoch = epoch + 1, owner = (select id from \"{0}\".instance where id <> '{late}')",
        schema.0
    );
    run(&mut connection().await, other).await;
    run(&mut holder, "commit").await;
    let acquired = acquiring.await.unwrap();
    assert!(
        matches!(&acquired, Acquired::Share { granted, .. } if granted.is_empty()),
        "{acquired:?}"
    );
    let epoch = format!("select epoch from \"{}\".partition", schema.0);
    assert_eq!(number(&mut connection().await, epoch).await, 1);
}
