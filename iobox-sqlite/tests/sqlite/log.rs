//! The log: what a cursor takes, what it leaves, and what becomes of older tables.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iobox_core::{
    ErrorKind,
    message::{Draft, MessageId},
    queue::Queue,
    store::{Admin, Filter, Page, Pending, Selection, Settled, State, Store},
};
use iobox_sqlite::{SqliteStore, migration_sql};
use iobox_testkit::suite::support::{Instance, done, duplicate, purge, retry, suspect};
use proptest::prelude::*;

use super::fixture::{File, enqueue, open, states};

fn drafts(count: usize) -> Vec<Draft> {
    let draft = |n: usize| Draft::new("t", "x").id(format!("m{n}"));
    (0..count).map(draft).collect()
}

/// A file of one partition with `count` messages, and all of them fetched.
async fn fetched(count: usize) -> (File, Arc<SqliteStore>, Instance<SqliteStore>, Vec<Pending>) {
    let file = File::new();
    let store = open(file.config().partitions(1));
    store.migrate().await.expect("migrate");
    for part in drafts(count).chunks(1_000) {
        enqueue(&store, part.to_vec()).await;
    }
    let owner = Instance::owner(&store).await;
    let rows = all(&owner, &[]).await;
    assert_eq!(rows.len(), count);
    (file, store, owner, rows)
}

/// All that may run and is not held.
async fn all(owner: &Instance<SqliteStore>, held: &[i64]) -> Vec<Pending> {
    let fetched = owner.fetch_with(|request| {
        (request.limit, request.bytes) = (10_000, usize::MAX);
        for part in &mut request.partitions {
            part.limit = 10_000;
            part.held = held
                .iter()
                .map(|seq| iobox_core::store::Seq(*seq))
                .collect();
        }
    });
    fetched.await.pending
}

async fn settle(owner: &Instance<SqliteStore>, rows: &[Pending]) {
    let settlements: Vec<_> = rows
        .iter()
        .map(|row| owner.settlement(row, done()))
        .collect();
    let settled = owner.send_all(&settlements).await;
    assert!(settled.iter().all(|one| *one == Settled::Applied));
}

async fn pending(store: &SqliteStore) -> u64 {
    store.stats(&Queue::Outbox).await.expect("stats").pending
}

const LOGGED: &str = "SELECT count(*) FROM iobox_outbox WHERE state = 6";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_done_at_the_first_attempt_is_not_written_again() {
    let (file, store, owner, rows) = fetched(5).await;
    settle(&owner, &rows[1..3]).await;
    assert_eq!(file.number(LOGGED), 5);
    assert_eq!(pending(&store).await, 3);
    assert_eq!(
        states(&store).await,
        [
            State::Pending,
            State::Done,
            State::Done,
            State::Pending,
            State::Pending
        ]
    );
    // The owner after this one finds what is left.
    assert_eq!(all(&owner, &[]).await.len(), 3);
    settle(&owner, &rows[..1]).await;
    assert_eq!(file.number("SELECT upto FROM iobox_cursor"), rows[2].seq.0);
    assert_eq!(file.number("SELECT ahead = '[]' FROM iobox_cursor"), 1);
    let id = MessageId::new("m1").expect("an id");
    let entry = store
        .get(&Queue::Outbox, &id)
        .await
        .expect("get")
        .expect("m1");
    assert_eq!((entry.state, entry.attempt), (State::Done, 1));
    assert!(entry.settled_at.expect("settled") >= entry.enqueued_at);
    let named = "SELECT count(*) FROM iobox_messages WHERE state = 'done' AND settled_at > 0";
    assert_eq!(file.number(named), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_word_to_add_leaves_the_log() {
    let (file, store, owner, rows) = fetched(4).await;
    owner.apply(&rows[0], duplicate()).await;
    owner.apply(&rows[1], retry(Duration::from_secs(600))).await;
    owner.apply(&rows[2], suspect(1)).await;
    assert_eq!(file.number(LOGGED), 1);
    owner.apply(&rows[3], done()).await;
    assert_eq!(
        states(&store).await,
        [State::Done, State::Retrying, State::Pending, State::Done]
    );
    assert_eq!(pending(&store).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_comes_again_is_applied_once() {
    let (file, store, owner, rows) = fetched(3).await;
    settle(&owner, &rows[1..2]).await;
    settle(&owner, &rows).await;
    settle(&owner, &rows).await;
    assert_eq!(
        file.number("SELECT sum(json_array_length(seqs)) FROM iobox_settled"),
        3
    );
    assert_eq!(pending(&store).await, 0);
    // A verdict of another kind comes too late.
    let late = owner.settle(&rows[0], retry(Duration::ZERO)).await;
    assert_eq!(late, Settled::Superseded);
    assert_eq!(states(&store).await, [State::Done; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_front_of_many_finished_messages_leaves_the_log() {
    let (file, store, owner, rows) = fetched(1_100).await;
    settle(&owner, &rows[2..]).await;
    assert_eq!(file.number("SELECT ahead = '[]' FROM iobox_cursor"), 1);
    assert_eq!(
        file.number("SELECT upto FROM iobox_cursor"),
        rows[1_099].seq.0
    );
    assert_eq!(pending(&store).await, 2);
    let left = all(&owner, &[]).await;
    assert_eq!(left.len(), 2);
    settle(&owner, &left).await;
    assert_eq!(pending(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_log_that_is_put_back_runs_again() {
    let (file, store, owner, rows) = fetched(6).await;
    settle(&owner, &rows[1..5]).await;
    // One behind the reach of the cursor, and one that it went past.
    settle(&owner, &rows[..1]).await;
    for at in [0, 3] {
        let id = MessageId::new(format!("m{at}")).expect("an id");
        let replayed = store
            .replay(&Queue::Outbox, &Selection::One(id), false)
            .await;
        assert_eq!(replayed.expect("a replay").count, 1);
    }
    let again = all(&owner, &[rows[5].seq.0]).await;
    assert_eq!(again.len(), 2);
    settle(&owner, &again).await;
    assert_eq!(pending(&store).await, 1);
    assert_eq!(file.number(LOGGED), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_removes_what_was_done_first_and_no_more_than_it_may() {
    let (file, store, owner, rows) = fetched(10).await;
    settle(&owner, &rows[4..9]).await;
    file.edit("UPDATE iobox_meta SET clock_shift_ms = 1000");
    settle(&owner, &rows[..3]).await;
    file.edit("UPDATE iobox_meta SET clock_shift_ms = 5000");
    assert_eq!(purge(store.as_ref(), Duration::from_secs(60), 100).await, 0);
    assert_eq!(purge(store.as_ref(), Duration::ZERO, 2).await, 2);
    let left = |file: &File| file.number("SELECT min(seq) FROM iobox_outbox WHERE seq > 3");
    assert_eq!(left(&file), rows[3].seq.0);
    assert_eq!(file.number("SELECT count(*) FROM iobox_outbox"), 8);
    assert_eq!(file.number("SELECT count(*) FROM iobox_content"), 8);
    assert_eq!(purge(store.as_ref(), Duration::ZERO, 100).await, 6);
    assert_eq!(file.number("SELECT count(*) FROM iobox_settled"), 0);
    assert_eq!(pending(&store).await, 2);
    settle(&owner, &[rows[3].clone(), rows[9].clone()]).await;
    assert_eq!(pending(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_cursor_stops_its_partition_with_an_error() {
    for spoil in [
        "UPDATE iobox_cursor SET ahead = '{}'",
        "DELETE FROM iobox_cursor",
    ] {
        let (file, store, owner, rows) = fetched(2).await;
        file.edit(spoil);
        let error = store.fetch(&owner.request()).await.expect_err("spoiled");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let settlement = owner.settlement(&rows[0], done());
        let error = store.settle(&[settlement]).await.expect_err("spoiled");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(file.number(LOGGED), 2);
    }
}

/// Tables of version 3, before there was a log.
fn older() -> File {
    let file = File::new();
    let config = file
        .config()
        .partitions(1)
        .build()
        .expect("a configuration");
    let export = migration_sql(&config).replace(
        "DEFAULT 6 CHECK (state BETWEEN 0 AND 6)",
        "DEFAULT 0 CHECK (state BETWEEN 0 AND 5)",
    );
    file.edit(&export);
    file.edit(
        "INSERT INTO iobox_outbox (partition, state, size, enqueued_at, id, topic, halts, settled_at)
             VALUES (0, 0, 1, 1, 'a', 't', 0, NULL), (0, 1, 1, 1, 'b', 't', 0, NULL),
                    (0, 3, 1, 1, 'c', 't', 1, 1), (0, 4, 1, 1, 'd', 't', 0, 1),
                    (0, 5, 1, 1, 'e', 't', 0, 1), (0, 4, 1, 1, 'f', 't', 0, 1);
         UPDATE iobox_outbox SET due_at = 1 WHERE state = 1;
         INSERT INTO iobox_content SELECT seq, '[]', x'00' FROM iobox_outbox;
         DELETE FROM iobox_outbox WHERE id = 'f'",
    );
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_before_the_log_are_taken_over() {
    let file = older();
    let store = open(file.config().partitions(1));
    let error = store.open(&Queue::Outbox).await.expect_err("older tables");
    assert!(error.to_string().contains("run migrate"), "{error}");
    store.migrate().await.expect("migrate");
    store.verify().await.expect("fitting tables");
    assert!(file.is_sound());
    use State::{Dead, Discarded, Done, Pending, Retrying};
    let before = [Pending, Retrying, Dead, Done, Discarded];
    assert_eq!(states(&store).await, before);
    // The seq of what was removed is not used again.
    enqueue(&store, drafts(1)).await;
    assert_eq!(file.number("SELECT max(seq) FROM iobox_outbox"), 7);
    let owner = Instance::owner(&store).await;
    let rows = all(&owner, &[]).await;
    assert_eq!(rows.len(), 3);
    settle(&owner, &rows).await;
    assert_eq!(
        states(&store).await,
        [Done, Done, Dead, Done, Discarded, Done]
    );
    assert_eq!(purge(store.as_ref(), Duration::ZERO, 100).await, 5);
    assert_eq!(file.number("SELECT count(*) FROM iobox_content"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_what_is_pending_goes_on_page_by_page() {
    let (_file, store, owner, rows) = fetched(4).await;
    settle(&owner, &rows[..1]).await;
    let filter = Filter {
        states: vec![State::Pending],
        ..Filter::default()
    };
    let page = |after| Page { after, limit: 2 };
    let first = store
        .list(&Queue::Outbox, &filter, page(None))
        .await
        .expect("a page");
    let after = first.last().map(|entry| entry.seq);
    let second = store
        .list(&Queue::Outbox, &filter, page(after))
        .await
        .expect("a page");
    assert_eq!((first.len(), second.len()), (2, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order in which messages are done, the log shows as pending what was not.
    #[test]
    fn a_cursor_takes_what_was_done_and_nothing_else(
        count in 1..60_usize,
        picks in prop::collection::vec((0..60_usize, 1..12_usize, 0..4_u8), 1..20),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (_file, store, owner, rows) = fetched(count).await;
            let mut left: BTreeSet<usize> = (0..count).collect();
            for (start, step, kind) in picks {
                let batch: Vec<usize> = left.iter().copied().skip(start % count).step_by(step).collect();
                let chosen: Vec<Pending> = batch.iter().map(|at| rows[*at].clone()).collect();
                if kind == 0 && let Some(row) = chosen.first() {
                    // One of them is known to the broker, and leaves the log.
                    owner.apply(row, duplicate()).await;
                    left.remove(&batch[0]);
                } else {
                    settle(&owner, &chosen).await;
                    left.retain(|at| !batch.contains(at));
                }
                let expected: Vec<i64> = left.iter().map(|at| rows[*at].seq.0).collect();
                let found: Vec<i64> = all(&owner, &[]).await.iter().map(|row| row.seq.0).collect();
                assert_eq!(found, expected);
                assert_eq!(pending(&store).await, u64::try_from(left.len()).expect("few"));
                let shown = states(&store).await;
                for (at, state) in shown.iter().enumerate() {
                    let expected = if left.contains(&at) { State::Pending } else { State::Done };
                    assert_eq!(*state, expected, "{at}");
                }
            }
        });
    }
}
