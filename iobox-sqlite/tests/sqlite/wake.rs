//! Waking by other connections.

use std::time::Duration;

use iobox_core::{message::Draft, queue::Queue, store::Store};

use super::fixture::{enqueue, migrated, open};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_another_process_wakes() {
    let (file, store) = migrated().await;
    let other = open(file.config());
    let wake_up = store.wake_up().expect("a wake-up");
    for _ in 0..3 {
        let mut armed = wake_up.arm(&Queue::Outbox).await.expect("arm");
        assert_eq!(armed.at_most(), Duration::from_secs(1));
        let silence = tokio::time::timeout(Duration::from_millis(60), armed.wait());
        assert!(silence.await.is_err(), "nobody committed");
        enqueue(&other, vec![Draft::new("a", "1")]).await;
        let woken = tokio::time::timeout(SOON, armed.wait());
        woken.await.expect("woken");
        armed.disarm().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_between_arming_and_waiting_wakes() {
    let (_file, store) = migrated().await;
    let wake_up = store.wake_up().expect("a wake-up");
    let mut one = wake_up.arm(&Queue::Outbox).await.expect("arm");
    let mut two = wake_up.arm(&Queue::Outbox).await.expect("arm");
    enqueue(&store, vec![Draft::new("a", "1")]).await;
    for armed in [&mut one, &mut two] {
        tokio::time::timeout(SOON, armed.wait())
            .await
            .expect("woken");
    }
}
