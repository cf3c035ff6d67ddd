//! Corrupt rows: what cannot be decoded is shown as such, and harms nobody else.

use iobox_core::{
    message::MessageId,
    store::{Body, Fetched, State},
};

use super::{
    Harness,
    support::{
        Instance, LATER, aside_count, dead, discard_one, done, enqueue, entries, entry, key, keyed,
        label, partitions, plain, retry, state,
    },
};

/// A row that cannot be decoded comes in its place, with its key, and with a reason that names no
/// content; its neighbours come as they are.
pub async fn a_corrupt_row_comes_as_corrupt<H: Harness>() {
    let (_harness, one, _) = spoiled::<H>().await;
    let fetched = one.fetch().await;
    assert_eq!(fetched.pending.len(), 3);
    assert_eq!(label(&fetched.pending[0]), "before");
    assert_eq!(label(&fetched.pending[2]), "behind");
    let row = &fetched.pending[1];
    assert_eq!(row.key, Some(key("k")));
    let reason = reason(&fetched);
    assert!(!reason.is_empty());
    assert!(!reason.contains("secret"), "{reason}");
}

/// A corrupt row can be settled as dead, and is kept as a dead letter.
pub async fn a_corrupt_row_can_die<H: Harness>() {
    let (harness, one, id) = spoiled::<H>().await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[1], dead(true)).await;
    assert_eq!(state(harness.store().as_ref(), &id).await, State::Dead);
    assert_eq!(aside_count(&one.fetch().await), 1, "its key is halted");
}

/// A corrupt row keeps the order of its key: the others wait behind it while it retries.
pub async fn a_corrupt_row_keeps_its_place<H: Harness>() {
    let (_harness, one, _) = spoiled::<H>().await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[1], retry(LATER)).await;
    let fetched = one.fetch().await;
    assert_eq!(fetched.pending.len(), 1);
    assert_eq!(aside_count(&fetched), 1);
}

/// A corrupt row does not keep its neighbours from being settled with it in one call.
pub async fn a_corrupt_row_is_settled_with_its_neighbours<H: Harness>() {
    let (_harness, one, _) = spoiled::<H>().await;
    one.apply_all(&one.fetch().await.pending, &done()).await;
    assert!(one.fetch().await.pending.is_empty());
}

/// A person sees a corrupt row in listings, and its body as corrupt.
pub async fn a_person_sees_a_corrupt_row<H: Harness>() {
    let (harness, _one, id) = spoiled::<H>().await;
    let store = harness.store().as_ref();
    let listed = entries(store).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[1].id, id.as_str());
    let body = entry(store, &id).await.body;
    assert!(matches!(body, Some(Body::Corrupt(_))), "{body:?}");
}

/// A corrupt row can be discarded, which frees its key.
pub async fn a_corrupt_row_can_be_discarded<H: Harness>() {
    let (harness, one, id) = spoiled::<H>().await;
    one.apply(&one.fetch().await.pending[1], dead(true)).await;
    assert_eq!(discard_one(harness.store().as_ref(), &id).await.count, 1);
    let rows = one.fetch().await.pending;
    let labels: Vec<_> = rows.iter().map(label).collect();
    assert_eq!(labels, ["before", "behind"]);
}

/// Three messages, of which the second is corrupt and has the key of the third.
async fn spoiled<H: Harness>() -> (H, Instance<H::Store>, MessageId) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts = [plain("before"), keyed("k", "secret"), keyed("k", "behind")];
    let id = enqueue(&harness, &drafts).await.remove(1);
    harness.corrupt(&id).await;
    (harness, one, id)
}

/// Why the second row cannot be decoded.
fn reason(fetched: &Fetched) -> &str {
    match &fetched.pending[1].body {
        Body::Corrupt(reason) => reason,
        Body::Message(_) => panic!("the row was spoiled and is decoded"),
    }
}
