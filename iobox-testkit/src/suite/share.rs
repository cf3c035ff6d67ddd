//! Shares: how many partitions each live instance is due.

use std::time::Duration;

use super::{
    Harness,
    support::{Instance, TTL, partitions},
};

/// The shares of one to five instances sum to the partitions, differ by at most one, and are filled.
pub async fn shares_are_even_and_cover_every_partition<H: Harness>() {
    for count in 1..=5_usize {
        let harness = H::fresh(partitions(16)).await;
        let mut shares = Vec::new();
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(Instance::register(harness.store()).await);
        }
        for one in &mut instances {
            let (share, granted) = one.acquire().await;
            assert_eq!(granted.len(), usize::from(share), "a free share is taken");
            shares.push(share);
        }
        let (least, most) = (shares.iter().min(), shares.iter().max());
        assert_eq!(shares.iter().sum::<u16>(), 16, "{count}: {shares:?}");
        assert!(most <= least.map(|n| n + 1).as_ref(), "{count}: {shares:?}");
    }
}

/// Where partitions do not divide evenly, the oldest instances get one more.
pub async fn the_oldest_instances_get_one_more<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(Instance::register(harness.store()).await);
        harness.advance(Duration::from_secs(1)).await;
    }
    let mut shares = Vec::new();
    for one in instances.iter_mut().rev() {
        shares.push(one.acquire().await.0);
    }
    assert_eq!(shares, [2, 3, 3], "youngest first");
}

/// With more instances than partitions the youngest get nothing, without an error.
pub async fn the_youngest_of_too_many_get_nothing<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(Instance::register(harness.store()).await);
        harness.advance(Duration::from_secs(1)).await;
    }
    let mut shares = Vec::new();
    for one in &mut instances {
        let (share, granted) = one.acquire().await;
        assert_eq!(usize::from(share), granted.len());
        shares.push(share);
    }
    assert_eq!(shares, [1, 1, 0]);
}

/// An acquisition takes no more than the share less what the instance says it holds.
pub async fn nobody_takes_more_than_a_share<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let mut one = Instance::register(harness.store()).await;
    let _two = Instance::register(harness.store()).await;
    let (share, granted) = one.acquire().await;
    assert_eq!((share, granted.len()), (4, 4), "half of it is free");
    assert_eq!(one.acquire().await, (4, vec![]), "the rest is not its due");
}

/// An expired instance is counted no more as soon as another one acquires.
pub async fn an_expired_instance_has_no_share<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let _one = Instance::owner(harness.store()).await;
    harness.advance(TTL * 2).await;
    let mut two = Instance::register(harness.store()).await;
    let (share, granted) = two.acquire().await;
    assert_eq!((share, granted.len()), (8, 8));
}

/// An instance that left is counted no more.
pub async fn an_instance_that_left_has_no_share<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let mut one = Instance::owner(harness.store()).await;
    let mut two = Instance::register(harness.store()).await;
    assert_eq!(two.acquire().await, (4, vec![]));
    one.leave().await;
    let (share, granted) = two.acquire().await;
    assert_eq!((share, granted.len()), (8, 8));
}

/// Instances that give back what exceeds their share end with exactly their shares.
pub async fn instances_that_join_one_by_one_end_even<H: Harness>() {
    let harness = H::fresh(partitions(16)).await;
    let mut instances = Vec::new();
    for count in 1..=5_usize {
        instances.push(Instance::register(harness.store()).await);
        for _ in 0..2 {
            for one in &mut instances {
                let (share, _) = one.acquire().await;
                let excess: Vec<_> = one.held.keys().copied().skip(share.into()).collect();
                one.release(&excess).await;
            }
        }
        let held: Vec<usize> = instances.iter().map(|one| one.held.len()).collect();
        assert_eq!(held.iter().sum::<usize>(), 16, "{held:?}");
        assert!(
            held.iter()
                .all(|n| (16 / count..=16 / count + 1).contains(n)),
            "{held:?}"
        );
    }
}
