//! Settling: what each change does to a row, and when it does not apply.

use iobox_core::store::{Settled, State};

use super::{
    Harness,
    support::{Instance, done, enqueue, partitions, plain, states},
};

/// A row settled as done is done, and is not fetched again.
pub async fn done_is_done<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let row = one.one().await;
    one.apply(&row, done()).await;
    assert_eq!(states(harness.store().as_ref()).await, [State::Done]);
    assert!(one.fetch().await.pending.is_empty());
}

/// A settlement under an older epoch changes nothing and says that the lease is lost.
pub async fn an_older_epoch_settles_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let row = one.one().await;
    let late = one.settlement(&row, done());
    one.release(&[row.partition]).await;
    one.acquire().await;
    assert_eq!(one.send(&late).await, Settled::LeaseLost);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
    one.apply(&row, done()).await;
}
