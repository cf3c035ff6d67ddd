//! Hostile deliveries: what core takes comes back as it was, whatever the calendar.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use iobox_core::{
    inbox::{Delivery, Received},
    store::{Body, Receive},
};

use super::support::{Worker, delivery, receive, subscribe};
use crate::{
    broker::{Stored, support::ORIGIN},
    hostile,
    suite::{Harness, support::partitions},
};

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Deliveries with the hostile ids, keys, topics, headers and payloads that core takes come back as they
/// were, and a second arrival of each is known.
pub async fn hostile_deliveries_come_back<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[(">", "a")]).await;
    let messages = hostile::messages(ORIGIN);
    for some in messages.chunks(20) {
        let some: Vec<Delivery> = some.iter().cloned().map(Delivery::new).collect();
        let received = receive(store, &some).await;
        let new = Received::New { handlers: 1 };
        assert!(received.iter().all(|one| *one == new), "{received:?}");
        let again = receive(store, &some).await;
        assert!(again.iter().all(|one| one.is_duplicate()), "{again:?}");
    }
    let rows = Worker::new(store, "a").await.fetch().await;
    let found = rows.iter().map(|row| match &row.body {
        Body::Message(message) => (message.wire_id(), Stored::of(message)),
        Body::Corrupt(reason) => panic!("{:?} is corrupt: {reason}", row.seq),
    });
    let found: BTreeMap<String, Stored> = found.collect();
    assert_eq!(found.len(), messages.len());
    for message in &messages {
        let (found, sent) = (found.get(&message.wire_id()), Stored::of(message));
        assert!(found == Some(&sent), "{found:?} is not {sent:?}");
    }
}

/// Deliveries of a time beyond every calendar, or before it, are stored like others, and a horizon without
/// end forgets nothing.
pub async fn deliveries_of_odd_times_are_stored<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let (epoch, ages) = (SystemTime::UNIX_EPOCH, Duration::from_secs(1 << 55));
    let times = [
        epoch.checked_sub(ages),
        epoch.checked_sub(DAY),
        Some(epoch),
        epoch.checked_add(ages),
    ];
    let deliveries: Vec<Delivery> = times
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(n, at)| {
            delivery("t", &n.to_string(), "")
                .occurred_at(at)
                .aged(Duration::MAX)
        })
        .collect();
    let received = receive(store, &deliveries).await;
    assert!(
        received.iter().all(|one| !one.is_duplicate()),
        "{received:?}"
    );
    let unrouted = [delivery("nobody", "wants", "")];
    assert_eq!(
        receive(store, &unrouted).await,
        [Received::New { handlers: 0 }]
    );
    let purged = store
        .purge_received(Duration::MAX, Duration::MAX, 100)
        .await;
    assert_eq!(purged.expect("purge"), 0);
    let again = receive(store, &deliveries).await;
    assert!(again.iter().all(|one| one.is_duplicate()), "{again:?}");
    let rows = Worker::new(store, "a").await.fetch().await;
    assert_eq!(rows.len(), deliveries.len());
}
