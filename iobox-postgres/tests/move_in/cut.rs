//! Moves that are cut off, that meet each other, and that meet writers and workers of go-iobox.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use iobox_core::{queue::Queue, store::State};
use iobox_testkit::suite::support::PATIENCE;

use crate::{
    entries, moved,
    support::{Ancestor, Schema},
};

/// Every id is in one of the two tables, and in one of ours at most once.
async fn assert_in_one_place(theirs: &mut Ancestor, count: i64) {
    for (place, ours) in [("__outbox_table", "message"), ("__inbox_table", "received")] {
        let sql = format!(
            "select count(*) from (
               select id from {{s}}.{place} union all select id from {{s}}.{ours}
             ) as both_places"
        );
        assert_eq!(theirs.number(&sql).await, count, "{place}: all");
        let sql = sql.replace("count(*)", "count(distinct id)");
        assert_eq!(theirs.number(&sql).await, count, "{place}: distinct");
    }
}

async fn fill(theirs: &mut Ancestor, count: u32) {
    let sql = format!(
        "insert into {{s}}.__outbox_table (id, status, event_type, payload)
         select 'id-' || n, case n % 4 when 0 then 'done' when 1 then 'progress' end, 'orders', '{{}}'
         from generate_series(1, {count}) as n;
         insert into {{s}}.__inbox_table (id, status, event_type, handler_key)
         select 'id-' || n, case n % 4 when 0 then 'done' when 1 then 'dead' end, 'orders', 'a'
         from generate_series(1, {count}) as n"
    );
    theirs.run(&sql).await;
}

/// A batch that fails in its middle, or whose end nobody sees, moves nothing or all of its rows; the next
/// move goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_cut_off_is_gone_on_with() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    fill(&mut theirs, 100).await;
    // The removal of one row of each table fails: the batch with it is rolled back.
    theirs
        .run(
            "create function {s}.refuse() returns trigger language plpgsql as $$
             begin
               if old.id in ('id-50') then raise exception 'not this one'; end if;
               return old;
             end $$;
             create trigger refuse before delete on {s}.__outbox_table
               for each row execute function {s}.refuse();
             create trigger refuse before delete on {s}.__inbox_table
               for each row execute function {s}.refuse()",
        )
        .await;
    let options = theirs.options().batch(7);
    store.move_in(&options).await.expect_err("it is refused");
    let done = theirs.number("select count(*) from {s}.message").await;
    assert!(done > 0 && done < 100, "{done} are moved");
    assert_in_one_place(&mut theirs, 100).await;
    theirs
        .run("drop trigger refuse on {s}.__outbox_table; drop trigger refuse on {s}.__inbox_table")
        .await;
    // Moves that are dropped after so many rows.
    let mut seen = done;
    for step in [20, 40] {
        let task = {
            let (store, options) = (Arc::clone(&store), options.clone());
            tokio::spawn(async move { store.move_in(&options).await })
        };
        let until = (done + step).min(100);
        while seen < until && !task.is_finished() {
            seen = theirs.number("select count(*) from {s}.message").await;
        }
        task.abort();
        let _ = task.await;
        assert_in_one_place(&mut theirs, 100).await;
    }
    let report = store.move_in(&options).await.expect("a move");
    assert!(report.is_complete());
    assert_in_one_place(&mut theirs, 100).await;
    let again = store.move_in(&options).await.expect("a move");
    let tables = [again.outbox, again.inbox].map(|table| table.expect("it is there"));
    assert_eq!(tables.map(|table| (table.moved(), table.left)), [(0, 0); 2]);
}

/// Two moves at once move each row once, between them.
#[tokio::test(flavor = "multi_thread")]
async fn two_moves_at_once_move_each_row_once() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    fill(&mut theirs, 200).await;
    let options = theirs.options().batch(9);
    let (one, two) = tokio::join!(moved(&store, &options), moved(&store, &options));
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one.moved() + two.moved(), 200);
        assert_eq!((one.known, two.known), (0, 0));
        assert_eq!((one.remaining, two.remaining), (0, 0));
    }
    assert_in_one_place(&mut theirs, 200).await;
}

/// A row that a worker of theirs is changing is waited for, and arrives as the worker left it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_being_changed_is_waited_for() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs.write_outbox("1", "orders").await;
    let mut worker = Ancestor::of(&schema).await;
    worker
        .run("begin; update {s}.__outbox_table set status = 'done' where id = '1'")
        .await;
    let options = theirs.options();
    let moving = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.move_in(&options).await })
    };
    let waiting = format!(
        "select count(*) from pg_stat_activity
         where wait_event_type = 'Lock' and query like '%{}%__outbox_table%for update%'",
        schema.0
    );
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while theirs.number(&waiting).await == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it waits");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    worker.run("commit").await;
    let report = moving.await.expect("no panic").expect("a move");
    assert!(report.is_complete(), "{report:?}");
    let rows = entries(&store, &Queue::Outbox).await;
    assert_eq!((rows.len(), rows[0].state), (1, State::Done));
}

/// A writer that goes on, in transactions that commit late and with messages that arrive again, loses
/// nothing: what is not moved yet is there for the next move.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_goes_on_loses_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (mut theirs, stop) = (Ancestor::of(&schema).await, Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let mut written = 0_i64;
            while !stop.load(Ordering::SeqCst) && written < 2_000 {
                theirs.run("begin").await;
                for _ in 0..5 {
                    let id = format!("{writer}-{written}");
                    theirs.write_outbox(&id, "orders").await;
                    theirs.write_inbox(&id, "orders", "a").await;
                    // A broker that delivers the last one again.
                    let last = format!("{writer}-{}", (written - 3).max(0));
                    theirs.write_inbox(&last, "orders", "a").await;
                    written += 1;
                }
                theirs.run("commit").await;
            }
            written
        }));
    }
    let options = theirs.options().batch(20);
    let mut total = 0;
    while total < 500 {
        let [outbox, _] = moved(&store, &options).await;
        total += outbox.moved();
        if writers.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("a writer");
    }
    let report = store.move_in(&options).await.expect("a move");
    assert!(report.is_complete());
    assert!(written >= 500, "{written} were written");
    assert_in_one_place(&mut theirs, written).await;
    assert_eq!(
        theirs.number("select count(*) from {s}.inbox").await,
        written
    );
}
