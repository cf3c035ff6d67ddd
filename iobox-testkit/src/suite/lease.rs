//! Leases: registering, renewing, expiring, epochs.

use iobox_core::store::{Acquired, Renewed};

use super::{
    Harness,
    support::{Instance, TTL, partitions},
};

/// An instance that registered is alive and may take partitions.
pub async fn a_registered_instance_gets_every_partition<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    let (share, granted) = one.acquire().await;
    assert_eq!(share, 4);
    let taken: Vec<u8> = granted
        .iter()
        .map(|grant| grant.partition.number())
        .collect();
    assert_eq!(taken, [0, 1, 2, 3], "all partitions, in order");
}

/// An instance that never registered is gone, for renewals and for acquisitions.
pub async fn an_unknown_instance_is_gone<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::unregistered(harness.store());
    assert_eq!(one.renewal(false).await, Renewed::Gone);
    assert_eq!(one.try_acquire().await, Acquired::Gone);
}

/// Renewing an instance that expired, but that nobody deleted, succeeds.
pub async fn an_expired_instance_renews_while_its_row_is_there<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    harness.advance(TTL * 2).await;
    assert_eq!(one.renewal(false).await, Renewed::Alive);
}

/// An expired instance takes no partitions before it has renewed.
pub async fn an_expired_instance_acquires_nothing<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    harness.advance(TTL * 2).await;
    assert_eq!(one.try_acquire().await, Acquired::Gone);
    assert_eq!(one.renewal(false).await, Renewed::Alive);
    assert_eq!(one.acquire().await.0, 4);
}

/// Once another instance has deleted an expired one, its renewals say that it is gone.
pub async fn a_deleted_instance_is_gone<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut old = Instance::owner(harness.store()).await;
    harness.advance(TTL * 2).await;
    let _new = Instance::owner(harness.store()).await;
    assert_eq!(old.renewal(false).await, Renewed::Gone);
    assert_eq!(old.try_acquire().await, Acquired::Gone);
}

/// Every acquisition raises the epoch of a partition, also when the same instance takes it again.
pub async fn every_acquisition_raises_the_epoch<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut one = Instance::owner(harness.store()).await;
    for _ in 0..3 {
        let before = one.held.clone();
        let partitions: Vec<_> = before.keys().copied().collect();
        one.release(&partitions).await;
        let (_, granted) = one.acquire().await;
        assert_eq!(granted.len(), 2);
        for grant in granted {
            assert!(
                grant.epoch > before[&grant.partition],
                "{grant:?} after {before:?}"
            );
        }
    }
}
