//! Discards: a person closes messages for ever.

use std::time::SystemTime;

use iobox_core::{
    message::MessageId,
    queue::Queue,
    store::{Admin, Discarded, Filter, Selection, State},
};

use super::{
    Harness,
    replay::one_of_each,
    support::{
        Instance, discard_one, enqueue, entry, key, keyed, labels, partitions, plain, run_of,
        state, states,
    },
};

/// A discarded message is closed with the time of it, and is never fetched.
pub async fn a_discarded_message_is_closed<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[plain("a"), plain("b")]).await;
    let store = harness.store().as_ref();
    let discarded = discard_one(store, &ids[0]).await;
    let expected = Discarded {
        count: 1,
        more: false,
    };
    assert_eq!(discarded, expected);
    let entry = entry(store, &ids[0]).await;
    assert_eq!(entry.state, State::Discarded);
    assert!(entry.settled_at >= Some(entry.enqueued_at), "{entry:?}");
    assert_eq!(labels(&one.fetch().await), ["b"]);
}

/// Pending, retrying, waiting and dead messages can be discarded; done and discarded ones cannot.
pub async fn only_what_is_not_closed_is_discarded<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (_one, ids) = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    for (id, open) in ids.iter().zip([true, true, true, true, false, false]) {
        let before = state(store, id).await;
        assert_eq!(
            discard_one(store, id).await.count,
            u64::from(open),
            "{before}"
        );
        let expected = if open { State::Discarded } else { before };
        assert_eq!(state(store, id).await, expected);
    }
}

/// A discard of everything that matches takes all four states, or those that its filter names.
pub async fn a_discard_takes_the_states_of_its_filter<H: Harness>() {
    for (named, count) in [
        (vec![], 4),
        (vec![State::Dead], 1),
        (vec![State::Waiting, State::Done], 1),
        (vec![State::Done, State::Discarded], 0),
    ] {
        let harness = H::fresh(partitions(1)).await;
        let _one = one_of_each(&harness).await;
        let filter = Filter {
            states: named.clone(),
            ..Filter::default()
        };
        let discarded = discard(harness.store().as_ref(), &filter, false).await;
        assert_eq!(
            (discarded.count, discarded.more),
            (count, false),
            "{named:?}"
        );
        let mut expected = State::ALL;
        for state in &mut expected[..4] {
            if named.is_empty() || named.contains(state) {
                *state = State::Discarded;
            }
        }
        assert_eq!(states(harness.store().as_ref()).await, expected);
    }
}

/// A discard takes only the messages of the key of its filter.
pub async fn a_discard_keeps_to_its_filter<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    enqueue(&harness, &[keyed("l", "stays"), plain("stays too")]).await;
    let filter = Filter {
        key: Some(key("k")),
        ..Filter::default()
    };
    let store = harness.store().as_ref();
    assert_eq!(discard(store, &filter, false).await.count, 3);
    let mut left = labels(&one.fetch().await);
    left.sort_unstable();
    assert_eq!(left, ["stays", "stays too"]);
}

/// A dry run changes nothing and counts what the discard would do.
pub async fn a_dry_run_discards_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let _one = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    let before = states(store).await;
    let dry = discard(store, &Filter::default(), true).await;
    assert_eq!(dry.count, 4);
    assert_eq!(states(store).await, before);
    assert_eq!(discard(store, &Filter::default(), false).await, dry);
}

/// A discard of an id that nobody enqueued, or of what was published, discards nothing.
pub async fn nothing_is_discarded_by_mistake<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let _one = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    let before = states(store).await;
    for selection in [
        Selection::One(MessageId::new("nobody").expect("a valid id")),
        Selection::published_since(SystemTime::UNIX_EPOCH),
    ] {
        let discarded = store.discard(&Queue::Outbox, &selection, false).await;
        assert_eq!(discarded.expect("discard"), Discarded::default());
    }
    assert_eq!(states(store).await, before);
}

async fn discard<S: Admin + ?Sized>(store: &S, filter: &Filter, dry_run: bool) -> Discarded {
    let selection = Selection::Matching(filter.clone());
    let discarded = store.discard(&Queue::Outbox, &selection, dry_run).await;
    discarded.expect("discard")
}
