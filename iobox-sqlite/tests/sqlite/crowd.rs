//! Crowds: fetching must not cost more because many rows wait.

use std::time::{Duration, Instant};

use iobox_core::message::OrderingKey;
use iobox_testkit::suite::support::Instance;

use super::fixture::{File, open};

/// Far more than a fetch takes on a slow machine, far less than one that reads every row.
const BOUND: Duration = Duration::from_millis(40);

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

async fn quickest(work: impl AsyncFn() -> usize, expected: usize) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(work().await, expected);
        quickest = quickest.min(start.elapsed());
    }
    quickest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_of_a_full_key_cost_nothing() {
    let file = File::new();
    let store = open(file.config().partitions(1));
    store.migrate().await.expect("migrate");
    crowd(&file, 0);
    let one = Instance::owner(&store).await;
    let took = quickest(
        async || {
            let fetched = one
                .fetch_each(|part| {
                    part.limit = 200;
                    part.full = vec![OrderingKey::stored("crowd")];
                })
                .await;
            assert!(fetched.pending.is_empty());
            fetched.aside.len()
        },
        200,
    );
    let took = took.await;
    assert!(took < BOUND, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_waiting_rows_cost_nothing() {
    let file = File::new();
    let store = open(file.config().partitions(1));
    store.migrate().await.expect("migrate");
    crowd(&file, 2);
    // The key is halted by its first row.
    file.edit("UPDATE iobox_outbox SET state = 3, halts = 1 WHERE seq = 1");
    let one = Instance::owner(&store).await;
    let plain = quickest(async || one.fetch().await.pending.len(), 100).await;
    let swept = quickest(async || one.sweep().await.pending.len(), 100).await;
    assert!(plain < BOUND && swept < BOUND, "{plain:?} {swept:?}");
    // The halt is lifted: each fetch releases a part.
    file.edit("UPDATE iobox_outbox SET state = 5, halts = 0 WHERE seq = 1");
    let released = one.sweep().await;
    assert_eq!((released.released.len(), released.pending.len()), (1, 356));
}
