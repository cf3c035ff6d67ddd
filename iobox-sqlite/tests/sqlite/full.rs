//! A full disk: `max_page_count` makes SQLite say so for real.

use iobox_core::{ErrorKind, message::Draft, store::State};

use super::fixture::{migrated, states, try_enqueue};
use iobox_sqlite::{Failure, SqliteStore};

async fn pages_max(store: &SqliteStore, count: i64) {
    let set = store.write(move |tx| -> Result<(), Failure> {
        Ok(tx.pragma_update(None, "max_page_count", count)?)
    });
    set.await.expect("a bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for_and_keeps_what_it_has() {
    let (file, store) = migrated().await;
    let drafts = |count: usize| -> Vec<Draft> {
        (0..count)
            .map(|_| Draft::new("t", vec![7; 2_000]))
            .collect()
    };
    try_enqueue(&store, drafts(3)).await.expect("room");
    // No page more than there are.
    pages_max(&store, 1).await;
    let error = try_enqueue(&store, drafts(200)).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(states(&store).await, [State::Pending; 3], "all or nothing");
    pages_max(&store, i64::from(u32::MAX - 1)).await;
    try_enqueue(&store, drafts(200)).await.expect("room again");
    assert_eq!(states(&store).await.len(), 203);
    assert!(file.is_sound());
}
