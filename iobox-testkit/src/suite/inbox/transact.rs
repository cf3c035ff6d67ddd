//! Transactions of handlers: effects and mark commit together, under the fence.

use std::sync::Arc;

use iobox_core::{
    Error, ErrorKind, Result,
    inbox::SourceName,
    message::{MessageId, Origin},
    queue::Queue,
    store::{Admin, Admitted, Enqueue, Pending, Settled, Store, Transact},
};

use tokio::time::timeout;

use super::support::{Worker, delivery, name, receive, source, stats, subscribe};
use crate::{
    broker::support::ORIGIN,
    suite::{
        Harness,
        support::{MOMENT, TTL, partitions, plain},
    },
};

/// How many messages are in the outbox: the effects of the handlers here.
async fn effects<S: Admin>(store: &S) -> u64 {
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    stats.pending
}

/// The effects of a handler, its mark, and what it enqueues commit together or not at all.
pub async fn effects_and_mark_commit_together<H: Harness>()
where
    H::Store: Transact,
{
    let (harness, worker, row) = fetched::<H>().await;
    let store = harness.store().as_ref();
    let success = worker.success(&row);
    for (commits, count) in [(false, 0), (true, 1)] {
        let mut tx = store.begin_handling().await.expect("begin");
        store
            .enqueue(&mut tx, &[plain("e")])
            .await
            .expect("enqueue");
        let marked = store.mark(&mut tx, worker.store(), &success).await;
        assert_eq!(marked.expect("mark"), Settled::Applied);
        if commits {
            store.commit_handling(tx).await.expect("commit");
        } else {
            drop(tx);
        }
        assert_eq!(effects(store).await, count);
        assert_eq!(stats(store, "a").await.pending, 1 - count);
    }
    // The settle of somebody who did not hear of the commit finds it recorded.
    let settled = worker.store().settle(&[success]).await.expect("settle");
    assert_eq!(settled, [Settled::Applied]);
}

/// A mark under an older epoch is refused.
pub async fn a_mark_of_an_older_epoch_is_refused<H: Harness>()
where
    H::Store: Transact,
{
    let (harness, old, row) = fetched::<H>().await;
    let store = harness.store().as_ref();
    harness.advance(TTL * 2).await;
    let _new = Worker::new(store, "a").await;
    let mut tx = store.begin_handling().await.expect("begin");
    let marked = store.mark(&mut tx, old.store(), &old.success(&row)).await;
    assert_eq!(marked.expect("mark"), Settled::LeaseLost);
}

/// A mark of a row that was settled before is superseded, also when it is the same mark: its effects
/// are committed already.
pub async fn a_mark_of_a_settled_row_is_superseded<H: Harness>()
where
    H::Store: Transact,
{
    let (harness, worker, row) = fetched::<H>().await;
    let store = harness.store().as_ref();
    let success = worker.success(&row);
    let mut tx = store.begin_handling().await.expect("begin");
    let marked = store.mark(&mut tx, worker.store(), &success).await;
    assert_eq!(marked.expect("mark"), Settled::Applied);
    store.commit_handling(tx).await.expect("commit");
    let mut tx = store.begin_handling().await.expect("begin");
    store
        .enqueue(&mut tx, &[plain("again")])
        .await
        .expect("enqueue");
    let marked = store.mark(&mut tx, worker.store(), &success).await;
    assert_eq!(marked.expect("mark"), Settled::Superseded);
    drop(tx);
    assert_eq!(effects(store).await, 0);
}

/// A mark and its commit in one call: the effects are committed when it applies, and once. When the row
/// was settled before, or under an older epoch, nothing is.
pub async fn a_mark_and_its_commit_are_one_call<H: Harness>()
where
    H::Store: Transact,
{
    let (harness, old, row) = fetched::<H>().await;
    let store = harness.store().as_ref();
    let finish = async |worker: &Worker<H::Store>, row: &Pending| {
        let mut tx = store.begin_handling().await.expect("begin");
        store
            .enqueue(&mut tx, &[plain("e")])
            .await
            .expect("enqueue");
        let success = worker.success(row);
        let finished = store.mark_and_commit(tx, worker.store(), &success).await;
        finished.expect("a reply")
    };
    harness.advance(TTL * 2).await;
    let new = Worker::new(store, "a").await;
    let taken = new.fetch().await.remove(0);
    assert_eq!(finish(&old, &row).await, Settled::LeaseLost);
    assert_eq!(effects(store).await, 0);
    assert_eq!(finish(&new, &taken).await, Settled::Applied);
    assert_eq!(effects(store).await, 1);
    assert_eq!(stats(store, "a").await.pending, 0);
    assert_eq!(finish(&new, &taken).await, Settled::Superseded);
    assert_eq!(effects(store).await, 1);
}

/// When somebody takes a partition over while its handler runs, one set of effects commits: that of
/// the new owner.
pub async fn a_takeover_before_the_mark_commits_one_set_of_effects<H: Harness>()
where
    H::Store: Transact,
{
    let (harness, old, stale) = fetched::<H>().await;
    let store = harness.store().as_ref();
    harness.advance(TTL * 2).await;
    let new = Worker::new(store, "a").await;
    let row = new.fetch().await.remove(0);
    for (worker, row, wanted) in [
        (&old, &stale, Settled::LeaseLost),
        (&new, &row, Settled::Applied),
    ] {
        let mut tx = store.begin_handling().await.expect("begin");
        store
            .enqueue(&mut tx, &[plain("e")])
            .await
            .expect("enqueue");
        let success = worker.success(row);
        let marked = store.mark(&mut tx, worker.store(), &success).await;
        assert_eq!(marked.expect("mark"), wanted);
        if wanted == Settled::Applied {
            store.commit_handling(tx).await.expect("commit");
        }
    }
    assert_eq!(effects(store).await, 1);
}

/// A message is admitted once for each handler, source and origin, if the transaction commits.
pub async fn an_admitted_message_is_admitted_once<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let id = MessageId::new("1").expect("an id");
    let admit = async |source: &SourceName, handler: &str, origin: Origin, commits: bool| {
        let mut tx = store.begin_handling().await.expect("begin");
        let admitted = store
            .admit(&mut tx, source, &name(handler), origin, &id)
            .await
            .expect("admit");
        if commits {
            store.commit_handling(tx).await.expect("commit");
        }
        admitted
    };
    let (shop, mill) = (source(), SourceName::new("mill").expect("a source"));
    let foreign = Origin::FOREIGN;
    assert_eq!(admit(&shop, "a", foreign, false).await, Admitted::Fresh);
    let marks = [
        (&shop, "a", foreign),
        (&shop, "b", foreign),
        (&mill, "a", foreign),
        (&shop, "a", ORIGIN),
    ];
    for expected in [Admitted::Fresh, Admitted::Duplicate] {
        for (source, handler, origin) in marks {
            let admitted = admit(source, handler, origin, true).await;
            assert_eq!(admitted, expected, "{source} {handler} {origin}");
        }
    }
}

/// Of two open transactions that admit the same message, one commits it as fresh: the other is told of a
/// duplicate, or its commit is refused.
///
/// Where one transaction at a time may write, the second begins after the first.
pub async fn a_message_of_two_open_transactions_is_admitted_once<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store();
    let mut first = store.begin_handling().await.expect("begin");
    let admitted = admit(store.as_ref(), &mut first).await.expect("admit");
    assert_eq!(admitted, Admitted::Fresh);
    let another = Arc::clone(store);
    let mut second = tokio::spawn(async move {
        let mut tx = another.begin_handling().await.expect("begin");
        let admitted = admit(another.as_ref(), &mut tx).await?;
        another.commit_handling(tx).await?;
        Ok::<_, Error>(admitted)
    });
    // It may be through by then, or wait for the first transaction.
    let early = timeout(MOMENT, &mut second).await.ok();
    let committed = store.commit_handling(first).await;
    let ended = match early {
        Some(ended) => ended,
        None => second.await,
    };
    let ended = ended.expect("the second transaction does not panic");
    let mut fresh = 0;
    for committed in [committed.map(|()| Admitted::Fresh), ended] {
        match committed {
            Ok(Admitted::Fresh) => fresh += 1,
            Ok(Admitted::Duplicate) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
    assert_eq!(fresh, 1);
}

async fn admit<S: Transact>(store: &S, tx: &mut S::Tx) -> Result<Admitted> {
    let id = MessageId::new("1").expect("an id");
    let handler = name("a");
    store
        .admit(tx, &source(), &handler, Origin::FOREIGN, &id)
        .await
}

/// A message for handler `a`, and a worker of that handler that has fetched it.
async fn fetched<H: Harness>() -> (H, Worker<H::Store>, Pending)
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    receive(store, &[delivery("t", "1", "k")]).await;
    let worker = Worker::new(store, "a").await;
    let row = worker.fetch().await.remove(0);
    (harness, worker, row)
}
