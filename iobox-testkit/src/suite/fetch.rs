//! Fetching: order, limits, what is left out.

use super::{
    Harness,
    support::{Instance, enqueue, keyed, labels, partitions, plain},
};

/// The rows of a partition come in the order of their enqueues.
pub async fn rows_come_in_the_order_of_their_enqueues<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), keyed("k", "b"), keyed("l", "c")]).await;
    enqueue(&harness, &[plain("d"), keyed("k", "e")]).await;
    assert_eq!(labels(&one.fetch().await), ["a", "b", "c", "d", "e"]);
}

/// A fetch returns at most as many rows as it asks for, the oldest first, and says that there are
/// more.
pub async fn the_row_limit_holds<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let some = one.fetch_with(|request| request.limit = 2).await;
    assert_eq!(labels(&some), ["a", "b"]);
    assert_eq!(some.more.len(), 1, "the partition holds one more");
    let all = one.fetch().await;
    assert_eq!(labels(&all), ["a", "b", "c"]);
    assert!(all.more.is_empty(), "nothing is left");
}
