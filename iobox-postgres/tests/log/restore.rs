//! Tables that were restored into another cluster.

use iobox_core::{
    ErrorKind,
    store::{Enqueue, Settled},
};

use crate::{
    count, drafts, ids, pending,
    support::{DONE, Owner, Schema, connection, enqueue, run},
};

/// Tables that come from another cluster speak of transactions that mean nothing in this one.
#[tokio::test(flavor = "multi_thread")]
async fn restored_tables_are_refused_until_they_are_migrated_and_lose_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let mut late = connection().await;
    run(&mut late, "begin").await;
    store.enqueue(&mut late, &drafts("late", 2)).await.unwrap();
    enqueue(&store, &drafts("m", 20)).await;
    let fetched = owner.fetch(100).await;
    owner.settle(&fetched.pending[..10], &DONE).await;
    // Out of order, so that some are listed.
    owner.settle(&fetched.pending[15..17], &DONE).await;
    run(&mut late, "commit").await;
    let expected: Vec<String> = ids(&owner.fetch(100).await);
    assert_eq!(expected.len(), 2 + 20 - 12);

    // As in a dump of a cluster that has seen many more transactions.
    let foreign = format!(
        "update \"{0}\".message set xid = (xid::text::bigint + 4000000000)::text::xid8;
         update \"{0}\".cursor set
           ahead_xids = array(select (x::text::bigint + 4000000000)::text::xid8
             from unnest(ahead_xids) as x),
           seen = (
             (pg_snapshot_xmin(seen)::text::bigint + 4000000000) || ':' ||
             (pg_snapshot_xmax(seen)::text::bigint + 4000000000) || ':' ||
             array_to_string(array(select x::text::bigint + 4000000000
               from pg_snapshot_xip(seen) as x), ','))::pg_snapshot;
         update \"{0}\".meta set cluster = cluster + 1",
        schema.0
    );
    run(&mut connection().await, foreign).await;
    let restored = schema.store(schema.config().partitions(1)).await;
    let error = restored.verify().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("another cluster"), "{error}");
    restored.migrate().await.unwrap();
    restored.verify().await.unwrap();

    assert_eq!(ids(&owner.fetch(100).await), expected);
    enqueue(&store, &drafts("new", 5)).await;
    let fetched = owner.fetch(100).await;
    assert_eq!(fetched.pending.len(), expected.len() + 5);
    let settled = owner.settle(&fetched.pending, &DONE).await;
    assert!(settled.iter().all(|one| *one == Settled::Applied));
    assert_eq!(pending(&store).await, 0);
    assert!(owner.fetch(100).await.pending.is_empty());
    let done = "select count(*) from {s}.outbox where state = 'done'";
    assert_eq!(count(&schema, done).await, 2 + 20 + 5);
}
