//! Hand-over: what is released, abandoned, and by whom it is taken.

use iobox_core::{
    partition::Partition,
    store::{Epoch, Grant, State},
};

use super::{
    Harness,
    support::{Instance, done, enqueue, labels, partitions, plain, states},
};

/// Partitions that were given back go to the next instance that asks.
pub async fn released_partitions_go_to_the_next<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    let mut two = Instance::register(harness.store()).await;
    let given = [Partition::new(1), Partition::new(3)];
    one.release(&given).await;
    let (_, granted) = two.acquire().await;
    let taken: Vec<_> = granted.iter().map(|grant| grant.partition).collect();
    assert_eq!(taken, given);
}

/// A partition that nobody ever owned is not abandoned.
pub async fn a_new_partition_is_not_abandoned<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    let (_, granted) = one.acquire().await;
    assert!(granted.iter().all(|grant| !grant.abandoned), "{granted:?}");
}

/// A partition that its owner gave back is not abandoned.
pub async fn a_released_partition_is_not_abandoned<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    one.leave().await;
    let mut two = Instance::register(harness.store()).await;
    let (_, granted) = two.acquire().await;
    assert_eq!(granted.len(), 4);
    assert!(granted.iter().all(|grant| !grant.abandoned), "{granted:?}");
}

/// A partition whose owner died is abandoned, once: not when it changes hands after that.
pub async fn only_a_death_abandons_a_partition<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let _dies = Instance::owner(harness.store()).await;
    harness.advance(super::support::TTL * 2).await;
    let mut two = Instance::register(harness.store()).await;
    let (_, granted) = two.acquire().await;
    assert_eq!(granted.len(), 4);
    assert!(granted.iter().all(|grant| grant.abandoned), "{granted:?}");
    two.release_all().await;
    let (_, granted) = two.acquire().await;
    assert_eq!(granted.len(), 4);
    assert!(granted.iter().all(|grant| !grant.abandoned), "{granted:?}");
}

/// A partition whose owner left without giving it back is free at once, and abandoned.
pub async fn leaving_without_giving_back_abandons<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    one.send_release(Vec::new(), true).await;
    let mut two = Instance::register(harness.store()).await;
    let (_, granted) = two.acquire().await;
    assert_eq!(granted.len(), 4);
    assert!(granted.iter().all(|grant| grant.abandoned), "{granted:?}");
}

/// A partition that is given back while it is still abandoned is granted as abandoned again, once.
pub async fn a_partition_stays_abandoned_until_it_is_worked_off<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut one = Instance::owner(harness.store()).await;
    let grants = one
        .held
        .iter()
        .map(|(partition, epoch)| Grant {
            partition: *partition,
            epoch: *epoch,
            abandoned: partition.number() == 1,
        })
        .collect();
    one.send_grants(grants, false).await;
    one.held.clear();
    let abandoned = |granted: Vec<Grant>| -> Vec<u8> {
        let still = granted.iter().filter(|grant| grant.abandoned);
        still.map(|grant| grant.partition.number()).collect()
    };
    assert_eq!(abandoned(one.acquire().await.1), [1]);
    one.release_all().await;
    assert_eq!(abandoned(one.acquire().await.1), [0; 0]);
}

/// A grant whose reply was lost comes back to its owner also when his share has shrunk meanwhile.
pub async fn a_lost_grant_comes_back_beyond_the_share<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    let lost = std::mem::take(&mut one.held);
    let mut two = Instance::register(harness.store()).await;
    let (share, granted) = one.acquire().await;
    assert_eq!((share, granted.len()), (2, 4));
    for grant in &granted {
        assert!(grant.epoch > lost[&grant.partition], "{grant:?}");
    }
    assert_eq!(two.acquire().await.1.len(), 0);
    one.release(&[Partition::new(2), Partition::new(3)]).await;
    assert_eq!(two.acquire().await.1.len(), 2);
}

/// A release under an older epoch leaves the partition with its owner.
pub async fn a_release_under_an_older_epoch_is_ignored<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    let old: Vec<_> = one.held.iter().map(|(p, e)| (*p, *e)).collect();
    one.release_all().await;
    one.acquire().await;
    one.send_release(old, false).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, done()).await;
}

/// A release by an instance that does not own the partition is ignored, even under the right epoch.
pub async fn a_release_by_somebody_else_is_ignored<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let two = Instance::register(harness.store()).await;
    let held: Vec<_> = one.held.iter().map(|(p, e)| (*p, *e)).collect();
    two.send_release(held, false).await;
    two.send_release(vec![(Partition::new(0), Epoch(99))], false)
        .await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, done()).await;
}

/// A release that is repeated after a lost reply takes nothing from the next owner.
pub async fn a_repeated_release_takes_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    let held: Vec<_> = one.held.iter().map(|(p, e)| (*p, *e)).collect();
    one.release_all().await;
    let mut two = Instance::register(harness.store()).await;
    one.leave().await;
    assert_eq!(two.acquire().await.1.len(), 1);
    one.send_release(held, true).await;
    enqueue(&harness, &[plain("a")]).await;
    two.apply(&two.one().await, done()).await;
}

/// Messages go with their partition: the new owner gets what the old one left, and only that.
pub async fn messages_go_with_their_partition<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let fetched = one.fetch().await;
    one.apply(&fetched.pending[0], done()).await;
    one.leave().await;
    let two = Instance::owner(harness.store()).await;
    let fetched = two.fetch().await;
    assert_eq!(labels(&fetched), ["b", "c"]);
    two.apply_all(&fetched.pending, &done()).await;
    assert_eq!(states(harness.store().as_ref()).await, [State::Done; 3]);
}
