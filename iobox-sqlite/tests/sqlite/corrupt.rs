//! Rows that somebody spoiled.

use iobox_core::{
    message::{Draft, MessageId},
    queue::Queue,
    store::{Admin, Body, Filter, Page, State},
};
use iobox_testkit::suite::support::{Instance, dead, done, retry};

use super::fixture::{enqueue, migrated, states};

/// Each edit spoils the row with the payload `bad`.
const EDITS: [&str; 10] = [
    "UPDATE iobox_outbox SET topic = 'a secret' WHERE seq = 2",
    "UPDATE iobox_outbox SET topic = CAST(X'ff' AS TEXT) WHERE seq = 2",
    "UPDATE iobox_outbox SET id = '' WHERE seq = 2",
    "UPDATE iobox_outbox SET id = CAST(X'fffe' AS TEXT) WHERE seq = 2",
    "UPDATE iobox_outbox SET key = CAST(X'73ff' AS TEXT) WHERE seq = 2",
    "UPDATE iobox_outbox SET key = 'secret' || char(7) WHERE seq = 2",
    "UPDATE iobox_content SET headers = 'secret' WHERE seq = 2",
    "UPDATE iobox_content SET headers = '[[\"Nats-Rollup\", \"secret\"]]' WHERE seq = 2",
    "DELETE FROM iobox_content WHERE seq = 2",
    "UPDATE iobox_outbox SET topic = 'a b', attempt = -1, size = -5, enqueued_at = -1 WHERE seq = 2",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_row_is_corrupt_and_its_neighbours_are_fine() {
    for edit in EDITS {
        let (file, store) = migrated().await;
        let one = Instance::owner(&store).await;
        let drafts = ["before", "bad", "after"]
            .map(|label| Draft::new("orders.created", label).id(label).key("k"));
        enqueue(&store, drafts.to_vec()).await;
        file.edit(edit);
        let fetched = one.fetch().await.pending;
        assert_eq!(fetched.len(), 3, "{edit}");
        let corrupt: Vec<_> = fetched
            .iter()
            .map(|row| match &row.body {
                Body::Message(_) => None,
                Body::Corrupt(reason) => Some(reason.clone()),
            })
            .collect();
        assert!(corrupt[0].is_none() && corrupt[2].is_none(), "{edit}");
        let reason = corrupt[1].as_ref().expect("a spoiled row");
        assert!(!reason.contains("secret"), "{reason}");

        let page = Page::default();
        let listed = store.list(&Queue::Outbox, &Filter::default(), page).await;
        assert_eq!(listed.expect("a listing").len(), 3, "{edit}");
        store.stats(&Queue::Outbox).await.expect("counts");
        // A row that cannot be read can be retried, given up and closed all the same.
        one.apply(&fetched[1], retry(std::time::Duration::ZERO))
            .await;
        let again = one.fetch().await;
        let row = again
            .pending
            .iter()
            .find(|row| row.seq == fetched[1].seq)
            .expect("it is due");
        one.apply(row, dead(true)).await;
        one.apply(&fetched[0], done()).await;
        // A key that cannot be read holds nobody up.
        let third = if edit.contains("SET key") {
            State::Pending
        } else {
            State::Waiting
        };
        assert_eq!(
            states(&store).await,
            [State::Done, State::Dead, third],
            "{edit}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_key_does_not_stop_a_sweep() {
    let (file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let drafts = ["a", "b", "c"].map(|key| Draft::new("t", key).key(key));
    enqueue(&store, drafts.to_vec()).await;
    file.edit(
        "UPDATE iobox_outbox SET partition = 0, state = 2; \
         UPDATE iobox_outbox SET key = CAST(X'62ff' AS TEXT) WHERE key = 'b'",
    );
    let swept = one.sweep().await;
    assert_eq!(swept.released.len(), 2);
    assert_eq!(
        states(&store).await,
        [State::Pending, State::Waiting, State::Pending]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_row_is_found_by_its_id() {
    let (file, store) = migrated().await;
    enqueue(&store, vec![Draft::new("t", "x").id("one")]).await;
    file.edit("UPDATE iobox_content SET headers = '{'");
    let id = MessageId::new("one").expect("an id");
    let entry = store.get(&Queue::Outbox, &id).await.expect("an answer");
    let body = entry.expect("the row").body;
    assert!(matches!(body, Some(Body::Corrupt(_))), "{body:?}");
}
