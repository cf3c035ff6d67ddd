//! Crowds: many rows of one key, in the way of the others.

use iobox_core::message::OrderingKey;
use iobox_testkit::suite::support::{Instance, aside_count};

use super::fixture::{File, open};

/// Fills one partition with 100,000 rows of one key in `state`, and 100 of other keys behind them.
fn crowd(file: &File, state: i64) {
    file.edit(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100100) \
         INSERT INTO iobox_outbox (partition, state, size, enqueued_at, id, topic, key) \
         SELECT 0, iif(i > 100000, 0, {state}), 10, 0, 'id-' || i, 'topic', \
         iif(i > 100000, 'other-' || i, 'crowd') FROM n; \
         INSERT INTO iobox_content SELECT seq, '[]', x'00' FROM iobox_outbox"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_set_aside_in_parts_until_the_rows_behind_it_come() {
    let file = File::new();
    let store = open(file.config().partitions(1));
    store.migrate().await.expect("migrate");
    crowd(&file, 0);
    let one = Instance::owner(&store).await;
    let mut counts = Vec::new();
    loop {
        let fetched = one
            .fetch_each(|part| {
                part.limit = 200;
                part.full = vec![OrderingKey::stored("crowd")];
            })
            .await;
        if !fetched.pending.is_empty() {
            assert_eq!(fetched.pending.len(), 100);
            break;
        }
        counts.push(aside_count(&fetched));
    }
    assert_eq!(counts.len(), 98, "{counts:?}");
    assert!(
        counts[..97].iter().all(|count| *count == 1_024),
        "{counts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_waiting_rows_are_passed_over_and_released_in_parts() {
    let file = File::new();
    let store = open(file.config().partitions(1));
    store.migrate().await.expect("migrate");
    crowd(&file, 2);
    // The key is halted by its first row.
    file.edit("UPDATE iobox_outbox SET state = 3, halts = 1 WHERE seq = 1");
    let one = Instance::owner(&store).await;
    assert_eq!(one.fetch().await.pending.len(), 100);
    assert_eq!(one.sweep().await.pending.len(), 100);
    // The halt is lifted: each fetch releases a part.
    file.edit("UPDATE iobox_outbox SET state = 5, halts = 0 WHERE seq = 1");
    let released = one.sweep().await;
    assert_eq!((released.released.len(), released.pending.len()), (1, 356));
}
