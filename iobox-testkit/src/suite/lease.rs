//! Leases: registering, renewing, expiring, epochs.

use std::{collections::HashMap, sync::Arc};

use iobox_core::{
    partition::Partition,
    queue::Queue,
    store::{Acquired, Admin, Epoch, InstanceId, Renewed},
};

use super::{
    Harness,
    support::{Instance, TTL, partitions},
};

/// An instance that registered is alive and gets every partition, in order, when it is alone.
pub async fn a_registered_instance_gets_every_partition<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    let (share, granted) = one.acquire().await;
    assert_eq!(share, 4);
    let taken: Vec<u8> = granted.iter().map(|g| g.partition.number()).collect();
    assert_eq!(taken, [0, 1, 2, 3]);
}

/// An instance that never registered is gone, for renewals and for acquisitions.
pub async fn an_unknown_instance_is_gone<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::unregistered(harness.store());
    assert_eq!(one.renewal(false).await, Renewed::Gone);
    assert_eq!(one.try_acquire().await, Acquired::Gone);
}

/// Registering again under the same id, after a lost reply, is still one instance.
pub async fn registering_twice_is_one_instance<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    assert_eq!(one.renewal(true).await, Renewed::Alive);
    let stats = harness.store().stats(&Queue::Outbox).await.expect("stats");
    assert_eq!(stats.instances.len(), 1);
    assert_eq!(one.acquire().await.0, 4, "its share is everything");
}

/// A renewal gives another time-to-live, counted from the renewal.
pub async fn a_renewal_extends_the_life<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    for _ in 0..3 {
        harness.advance(TTL / 2).await;
        assert_eq!(one.renewal(false).await, Renewed::Alive);
    }
    let mut two = Instance::register(harness.store()).await;
    let (share, granted) = two.acquire().await;
    assert_eq!((share, granted), (2, vec![]), "the owner is alive");
}

/// An instance that does not renew loses its partitions to the next one after a time-to-live.
pub async fn an_instance_that_does_not_renew_loses_its_partitions<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    harness.advance(TTL * 2).await;
    let two = Instance::owner(harness.store()).await;
    assert_eq!(two.held.len(), one.held.len());
}

/// Renewing an instance that expired, but that nobody deleted, succeeds, and keeps its partitions.
pub async fn an_expired_instance_renews_while_its_row_is_there<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    harness.advance(TTL * 2).await;
    assert_eq!(one.renewal(false).await, Renewed::Alive);
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await.1, [], "the owner is alive again");
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
    let _heir = Instance::heir(&harness).await;
    assert_eq!(old.renewal(false).await, Renewed::Gone);
    assert_eq!(old.try_acquire().await, Acquired::Gone);
}

/// An instance that left is gone.
pub async fn an_instance_that_left_is_gone<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    one.leave().await;
    assert_eq!(one.renewal(false).await, Renewed::Gone);
    assert_eq!(one.try_acquire().await, Acquired::Gone);
}

/// Every acquisition raises the epoch of a partition, also when the same instance takes it again.
pub async fn every_acquisition_raises_the_epoch<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut one = Instance::owner(harness.store()).await;
    for _ in 0..3 {
        let before = one.held.clone();
        one.release_all().await;
        let (_, granted) = one.acquire().await;
        assert_eq!(granted.len(), 2);
        for grant in granted {
            let old = before[&grant.partition];
            assert!(grant.epoch > old, "{grant:?} after {old:?}");
        }
    }
}

/// Every takeover raises the epoch of a partition.
pub async fn every_takeover_raises_the_epoch<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut last = Instance::owner(harness.store()).await;
    for _ in 0..3 {
        let heir = Instance::heir(&harness).await;
        for (partition, epoch) in &heir.held {
            assert!(*epoch > last.held[partition], "{partition:?}");
        }
        last = heir;
    }
}

/// An acquisition that is repeated takes nothing twice.
pub async fn a_repeated_acquisition_takes_nothing_twice<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    let before = one.held.clone();
    assert_eq!(one.acquire().await, (4, vec![]));
    assert_eq!(one.held, before);
}

/// What was granted by a call whose reply was lost is granted again, under a higher epoch, and as
/// abandoned.
pub async fn a_grant_whose_reply_was_lost_is_granted_again<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    let lost = one.held.clone();
    one.held.retain(|partition, _| partition.number() == 1);
    let (share, granted) = one.acquire().await;
    assert_eq!(share, 4);
    let taken: Vec<u8> = granted.iter().map(|g| g.partition.number()).collect();
    assert_eq!(taken, [0, 2, 3], "what it does not know to hold");
    for grant in granted {
        assert!(grant.epoch > lost[&grant.partition], "{grant:?}");
        assert!(grant.abandoned, "{grant:?}");
    }
}

/// A grant whose reply was lost is nobody else's while its owner lives.
pub async fn a_grant_whose_reply_was_lost_is_nobody_elses<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    one.held.clear();
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await, (2, vec![]));
}

/// An acquisition that takes effect late, after its instance asked again, raises epochs that the
/// instance does not know: it gets its partitions again under epochs that it knows, as abandoned.
pub async fn an_epoch_that_the_owner_does_not_know_is_granted_again<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    let raised = one.acquire_late().await;
    assert_eq!(raised.len(), 4);
    let (share, granted) = one.acquire().await;
    assert_eq!((share, granted.len()), (4, 4));
    for grant in granted {
        let raised = raised.iter().find(|old| old.partition == grant.partition);
        assert!(
            raised.is_some_and(|old| grant.epoch > old.epoch),
            "{grant:?}"
        );
        assert!(grant.abandoned, "{grant:?}");
    }
    let known = one.held.clone();
    assert_eq!(one.acquire().await, (4, vec![]), "now it knows them");
    one.release_all().await;
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await.1.len(), 2, "it could give them back");
    assert!(two.held.iter().all(|(one, epoch)| *epoch > known[one]));
}

/// Partitions under epochs that their owner does not know come back to it beyond its share too, so
/// that it can hand them over.
pub async fn an_unknown_epoch_is_granted_again_beyond_the_share<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::owner(harness.store()).await;
    one.acquire_late().await;
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await, (2, vec![]), "they are not free");
    let (share, granted) = one.acquire().await;
    assert_eq!((share, granted.len()), (2, 4));
    one.release(&[Partition::new(2), Partition::new(3)]).await;
    let (_, granted) = two.acquire().await;
    let taken: Vec<u8> = granted.iter().map(|g| g.partition.number()).collect();
    assert_eq!(taken, [2, 3]);
}

/// A partition that is granted again counts once: the rest of the share is filled beside it.
pub async fn a_partition_granted_again_counts_once<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let mut one = Instance::owner(harness.store()).await;
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await.0, 4);
    one.release(&[0, 1, 2, 3, 4, 5].map(Partition::new)).await;
    let last = Partition::new(7);
    one.held.insert(last, Epoch(one.held[&last].0 - 1));
    let (share, granted) = one.acquire().await;
    assert_eq!(share, 4);
    let mut taken: Vec<u8> = granted.iter().map(|g| g.partition.number()).collect();
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 7]);
}

/// However instances race, no two ever get one partition under the same epoch.
pub async fn racing_instances_never_share_an_epoch<H: Harness>() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 50;
    let harness = Arc::new(H::fresh(partitions(4)).await);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let harness = Arc::clone(&harness);
            tokio::spawn(async move {
                let store = match task % 2 {
                    0 => Arc::clone(harness.store()),
                    _ => harness.another().await,
                };
                let mut grants = Vec::new();
                for round in 0..ROUNDS {
                    let mut one = Instance::register(&store).await;
                    // It may be gone already: another task moves the clock.
                    if let Acquired::Share { granted, .. } = one.try_acquire().await {
                        let key = |grant: &iobox_core::store::Grant| (grant.partition, grant.epoch);
                        grants.extend(granted.iter().map(|grant| (key(grant), one.id)));
                    }
                    match (task + round) % 4 {
                        0 => harness.advance(TTL * 2).await,
                        1 => one.release_all().await,
                        _ => one.leave().await,
                    }
                }
                grants
            })
        })
        .collect();
    let mut owners = HashMap::<(Partition, Epoch), InstanceId>::new();
    for task in tasks {
        for (place, instance) in task.await.expect("no task panics") {
            let other = owners.insert(place, instance);
            assert_eq!(other, None, "{place:?} was granted twice");
        }
    }
    assert!(owners.len() >= 4, "somebody got something");
}
