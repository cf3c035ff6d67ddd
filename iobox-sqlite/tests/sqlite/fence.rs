//! The fence: what an owner that was taken over may still do.

use iobox_core::{
    message::Draft,
    store::{Renewed, Settled, State},
};
use iobox_testkit::suite::support::{Instance, TTL, dead, done};

use super::fixture::{enqueue, migrated, open, states};

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_taken_over_settles_nothing() {
    let (file, store) = migrated().await;
    let old = Instance::owner(&store).await;
    enqueue(&store, vec![Draft::new("a", "1").key("k")]).await;
    let row = old.one().await;
    file.edit(&format!(
        "UPDATE iobox_meta SET clock_shift_ms = {}",
        TTL.as_millis() + 1
    ));
    // It is expired, but nobody has taken over: its outcome still counts.
    let another = open(file.config());
    let new = Instance::owner(&another).await;
    assert_eq!(old.renewal(false).await, Renewed::Gone);
    for change in [done(), dead(true)] {
        assert_eq!(old.settle(&row, change).await, Settled::LeaseLost);
    }
    assert_eq!(states(&store).await, [State::Pending]);
    let same = new.one().await;
    assert_eq!((same.seq, same.revision), (row.seq, row.revision));
    new.apply(&same, done()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlements_racing_a_takeover_apply_under_one_epoch_only() {
    for _ in 0..10 {
        let (file, store) = migrated().await;
        let old = Instance::owner(&store).await;
        let drafts = (0..50).map(|at| Draft::new("a", at.to_string())).collect();
        enqueue(&store, drafts).await;
        let rows = old.fetch().await.pending;
        file.edit(&format!(
            "UPDATE iobox_meta SET clock_shift_ms = {}",
            TTL.as_millis() + 1
        ));
        let settling = async {
            let mut settled = Vec::new();
            for row in &rows {
                settled.push(old.settle(row, done()).await);
            }
            settled
        };
        let another = open(file.config());
        let (settled, new) = tokio::join!(settling, Instance::owner(&another));
        let left = new.fetch().await.pending.len();
        let applied = settled
            .iter()
            .filter(|settled| **settled == Settled::Applied)
            .count();
        let lost = settled
            .iter()
            .filter(|settled| **settled == Settled::LeaseLost)
            .count();
        assert_eq!((applied + lost, left), (50, lost));
        // Once lost, always lost.
        let first_lost = settled.iter().position(|one| *one == Settled::LeaseLost);
        assert_eq!(first_lost.unwrap_or(50), applied);
    }
}
