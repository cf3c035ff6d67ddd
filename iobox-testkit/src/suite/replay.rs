//! Replays: a person puts messages back.

use std::time::Duration;

use iobox_core::{
    message::{Draft, MessageId, Topic},
    queue::Queue,
    store::{
        Admin, Filter, ReplayId, ReplayProgress, Replayed, Selection, Settlement, State, Store,
    },
};

use super::{
    Harness,
    support::{
        Instance, LATER, TOPIC, dead, discard_one, done, duplicate, enqueue, entries, entry, key,
        key_in, keyed, labels, partitions, plain, replay_one, retry, state, states, suspect,
        unknown,
    },
};

/// A dead message that is replayed is pending again, without attempts, crashes or a halt.
pub async fn a_replayed_message_starts_afresh<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    let settlement = Settlement {
        attempt: 9,
        ..one.settlement(&one.one().await, dead(true))
    };
    one.send(&settlement).await;
    let replayed = replay_one(harness.store().as_ref(), &id).await;
    assert_eq!((replayed.count, replayed.more), (1, false));
    assert!(replayed.replay.is_some(), "it has a number");
    let row = one.one().await;
    assert_eq!((row.attempt, row.crashes), (0, 0));
    assert!(row.revision > settlement.revision.next(), "the row changed");
    let entry = entry(harness.store().as_ref(), &id).await;
    assert_eq!((entry.state, entry.halts), (State::Pending, false));
    assert_eq!(entry.settled_at, None, "it is not settled any more");
}

/// One message is replayed by its id when it is dead, discarded or done, and only then.
pub async fn one_message_is_replayed_from_any_end<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (one, ids) = one_of_each(&harness).await;
    drop(one);
    let store = harness.store().as_ref();
    for (id, ended) in ids.iter().zip([false, false, false, true, true, true]) {
        let before = state(store, id).await;
        let replayed = replay_one(store, id).await;
        assert_eq!(replayed.count, u64::from(ended), "{before}");
        assert_eq!(replayed.replay.is_some(), ended, "{before}");
        let after = state(store, id).await;
        assert_eq!(after, if ended { State::Pending } else { before });
    }
}

/// A replay of an id that nobody enqueued replays nothing.
pub async fn an_unknown_id_is_not_replayed<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a")]).await;
    let unknown = MessageId::new("nobody").expect("a valid id");
    let replayed = replay_one(harness.store().as_ref(), &unknown).await;
    assert_eq!(replayed, Replayed::default());
}

/// A replay of everything that matches, without states, takes the dead messages alone.
pub async fn a_replay_without_states_takes_the_dead<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (_one, ids) = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    let replayed = replay(store, Filter::default()).await;
    assert_eq!(replayed.count, 1);
    assert_eq!(state(store, &ids[3]).await, State::Pending);
    assert_eq!(state(store, &ids[4]).await, State::Done);
    assert_eq!(state(store, &ids[5]).await, State::Discarded);
}

/// A replay with states takes the messages in those of them that are ends.
pub async fn a_replay_with_states_takes_those<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (_one, ids) = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    let filter = Filter {
        states: vec![
            State::Done,
            State::Discarded,
            State::Waiting,
            State::Retrying,
        ],
        ..Filter::default()
    };
    assert_eq!(replay(store, filter).await.count, 2);
    let expected = [
        State::Pending,
        State::Retrying,
        State::Waiting,
        State::Dead,
        State::Pending,
        State::Pending,
    ];
    for (id, expected) in ids.iter().zip(expected) {
        assert_eq!(state(store, id).await, expected);
    }
}

/// A replay takes only the messages of the topic, the key and the partition of its filter.
pub async fn a_replay_keeps_to_its_filter<H: Harness>() {
    let harness = H::fresh(partitions(16)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts = [
        keyed("k", "a"),
        keyed("l", "b"),
        plain("c").key("k"),
        Draft::new("orders.closed", "d").key("k"),
        plain("e"),
    ];
    enqueue(&harness, &drafts).await;
    one.apply_all(&one.fetch().await.pending, &dead(false))
        .await;
    let store = harness.store().as_ref();
    let of = partitions(16).of("k");
    let filters = [
        Filter {
            topic: Topic::new("orders.closed").ok(),
            ..Filter::default()
        },
        Filter {
            topic: Topic::new(TOPIC).ok(),
            key: Some(key("k")),
            ..Filter::default()
        },
        Filter {
            partition: Some(of),
            key: Some(key("k")),
            ..Filter::default()
        },
    ];
    for (filter, count) in filters.into_iter().zip([1, 2, 0]) {
        assert_eq!(replay(store, filter).await.count, count);
    }
    let dead: Vec<_> = entries(store).await;
    let dead = dead.iter().filter(|entry| entry.state == State::Dead);
    assert_eq!(dead.count(), 2, "the one of key l and the one without");
}

/// A replay of what was published since a time takes the done messages settled at it or later.
pub async fn a_replay_since_a_time_takes_what_was_published_then<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut ids = Vec::new();
    for label in ["a", "b", "c"] {
        ids.extend(enqueue(&harness, &[plain(label)]).await);
        one.apply(&one.one().await, done()).await;
        harness.advance(Duration::from_secs(60)).await;
    }
    ids.extend(enqueue(&harness, &[plain("dead"), plain("open")]).await);
    one.apply(&one.fetch().await.pending[0], dead(true)).await;
    let store = harness.store().as_ref();
    let since = entry(store, &ids[1]).await.settled_at.expect("it is done");
    let selection = Selection::published_since(since);
    let replayed = store.replay(&Queue::Outbox, &selection, false).await;
    assert_eq!(replayed.expect("replay").count, 2);
    let (done, dead, open) = (State::Done, State::Dead, State::Pending);
    assert_eq!(states(store).await, [done, open, open, dead, open]);
    assert_eq!(labels(&one.fetch().await), ["b", "c", "open"]);
}

/// A replay of what was published since a time ends there where its first call ended: what is
/// published again meanwhile does not match again.
pub async fn a_replay_since_a_time_meets_its_own_messages_no_second_time<H: Harness>() {
    const MESSAGES: usize = 10_001;
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..MESSAGES).map(plain).collect();
    for chunk in drafts.chunks(5_000) {
        enqueue(&harness, chunk).await;
    }
    publish_all(&one).await;
    let store = harness.store().as_ref();
    let since = entries(store).await[0].settled_at.expect("it is done");
    let all = Selection::published_since(since);
    let dry = store.replay(&Queue::Outbox, &all, true).await;
    assert!(
        dry.expect("replay").until >= Some(since),
        "a dry run says it too"
    );
    let mut counts = Vec::new();
    let mut next = Some(all);
    while let Some(selection) = next {
        let replayed = store.replay(&Queue::Outbox, &selection, false).await;
        let replayed = replayed.expect("replay");
        counts.push(replayed.count);
        assert!(counts.len() <= 3, "it goes round: {counts:?}");
        // The relay is faster than whoever calls.
        harness.advance(Duration::from_secs(1)).await;
        publish_all(&one).await;
        next = replayed.rest(selection);
    }
    assert_eq!(counts, [10_000, 1]);
}

/// The ends of a span of time belong to it.
pub async fn a_replay_of_a_span_takes_what_lies_in_it<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for label in ["a", "b", "c", "d"] {
        enqueue(&harness, &[plain(label)]).await;
        one.apply(&one.one().await, done()).await;
        harness.advance(Duration::from_secs(60)).await;
    }
    let store = harness.store().as_ref();
    let listed = entries(store).await;
    let settled = |at: usize| listed[at].settled_at.expect("it is done");
    let span = Selection::PublishedSince {
        since: settled(1),
        until: Some(settled(2)),
    };
    let replayed = store.replay(&Queue::Outbox, &span, false).await;
    let replayed = replayed.expect("replay");
    assert_eq!((replayed.count, replayed.until), (2, Some(settled(2))));
    assert_eq!(labels(&one.fetch().await), ["b", "c"]);
    let turned = Selection::PublishedSince {
        since: settled(3),
        until: Some(settled(0)),
    };
    let replayed = store.replay(&Queue::Outbox, &turned, false).await;
    assert_eq!(replayed.expect("replay").count, 0);
}

/// A dry run changes nothing, has no number, and counts what the replay would do.
pub async fn a_dry_run_replays_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (_one, ids) = one_of_each(&harness).await;
    let store = harness.store().as_ref();
    for selection in [
        Selection::One(ids[4].clone()),
        Selection::Matching(Filter::default()),
    ] {
        let before = states(store).await;
        let dry = store.replay(&Queue::Outbox, &selection, true).await;
        let dry = dry.expect("replay");
        assert_eq!((dry.count, dry.replay), (1, None));
        assert_eq!(states(store).await, before, "nothing changed");
        let wet = store.replay(&Queue::Outbox, &selection, false).await;
        let wet = wet.expect("replay");
        let counts = |one: Replayed| (one.count, one.out_of_order, one.more);
        assert_eq!(counts(wet), counts(dry), "the dry run told the truth");
        assert_ne!(states(store).await, before, "and the replay did it");
    }
}

/// A replay counts how many of its messages come after later ones of their key that are done.
pub async fn a_replay_counts_what_comes_out_of_order<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts = [
        keyed("k", "dies"),
        keyed("l", "dies"),
        plain("dies"),
        keyed("l", "open"),
        keyed("k", "done"),
        plain("done"),
        keyed("k", "dies too"),
    ];
    enqueue(&harness, &drafts).await;
    let rows = one.fetch().await.pending;
    for (at, row) in rows.iter().enumerate() {
        match at {
            0 | 1 | 2 | 6 => one.apply(row, dead(false)).await,
            4 | 5 => one.apply(row, done()).await,
            _ => {}
        }
    }
    let store = harness.store().as_ref();
    let all = Selection::Matching(Filter::default());
    let dry = store
        .replay(&Queue::Outbox, &all, true)
        .await
        .expect("replay");
    assert_eq!(
        (dry.count, dry.out_of_order),
        (4, 1),
        "the first of k alone"
    );
    let wet = replay(store, Filter::default()).await;
    assert_eq!((wet.count, wet.out_of_order), (4, 1));
}

/// Replayed messages come back in their old places.
pub async fn replayed_messages_come_in_their_old_order<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..5).map(|n| keyed("k", n)).collect();
    enqueue(&harness, &drafts).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    enqueue(&harness, &[keyed("k", 5)]).await;
    replay(harness.store().as_ref(), Filter::default()).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0", "1", "2", "3", "4", "5"]);
}

/// The progress of a replay counts what is open, done, absorbed by the broker, and dead again.
pub async fn progress_counts_what_became_of_a_replay<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..6).map(|n| keyed(&format!("k{n}"), n)).collect();
    enqueue(&harness, &drafts).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    enqueue(&harness, &[plain("bystander")]).await;
    let store = harness.store().as_ref();
    let replay = replay(store, Filter::default()).await.replay;
    let replay = replay.expect("six messages were replayed");
    let progress = |unsettled, published, absorbed, dead| ReplayProgress {
        unsettled,
        published,
        absorbed,
        dead,
    };
    assert_eq!(progress_of(store, replay).await, progress(6, 0, 0, 0));
    let rows = one.fetch().await.pending;
    let changes = [
        done(),
        duplicate(),
        dead(true),
        retry(LATER),
        suspect(1),
        duplicate(),
        done(),
    ];
    for (row, change) in rows.iter().zip(changes) {
        one.apply(row, change).await;
    }
    assert_eq!(progress_of(store, replay).await, progress(2, 3, 2, 1));
}

/// Each replay has a number of its own, and a message belongs to the last one that took it.
pub async fn a_message_belongs_to_its_last_replay<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[plain("a")]).await.remove(0);
    let store = harness.store().as_ref();
    one.apply(&one.one().await, duplicate()).await;
    let first = replay_one(store, &id).await.replay.expect("a number");
    one.apply(&one.one().await, done()).await;
    assert_eq!(
        progress_of(store, first).await.absorbed,
        0,
        "published anew"
    );
    let second = replay_one(store, &id).await.replay.expect("a number");
    assert_ne!(first, second);
    one.apply(&one.one().await, duplicate()).await;
    assert_eq!(progress_of(store, first).await, ReplayProgress::default());
    assert_eq!(progress_of(store, second).await.absorbed, 1);
}

/// The progress of a replay that never was is zero.
pub async fn an_unknown_replay_has_no_progress<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a")]).await;
    let progress = progress_of(harness.store().as_ref(), ReplayId(77)).await;
    assert_eq!(progress, ReplayProgress::default());
}

/// One call replays or discards at most 10,000 messages, the oldest first, and says that there are
/// more.
pub async fn one_call_takes_ten_thousand_messages<H: Harness>() {
    let two = partitions(2);
    let harness = H::fresh(two).await;
    let mut drafts: Vec<_> = (0..10_000).map(plain).collect();
    // The youngest lies in the first partition, so that no store finds it last by accident.
    drafts.push(plain("last").id(key_in(two, 0, "last")));
    let (first, rest) = drafts.split_at(5_000);
    enqueue(&harness, first).await;
    let last = enqueue(&harness, rest).await.pop().expect("the last id");
    let store = harness.store().as_ref();
    let all = Selection::Matching(Filter::default());
    for (count, more) in [(10_000, true), (1, false), (0, false)] {
        let dry = store
            .discard(&Queue::Outbox, &all, true)
            .await
            .expect("discard");
        let wet = store
            .discard(&Queue::Outbox, &all, false)
            .await
            .expect("discard");
        assert_eq!((wet.count, wet.more), (count, more));
        assert_eq!(dry, wet);
        let expected = [State::Discarded, State::Pending][usize::from(more)];
        assert_eq!(state(store, &last).await, expected);
    }
    let closed = Filter {
        states: vec![State::Discarded],
        ..Filter::default()
    };
    for (count, more) in [(10_000, true), (1, false), (0, false)] {
        let replayed = replay(store, closed.clone()).await;
        assert_eq!((replayed.count, replayed.more), (count, more));
        let expected = [State::Pending, State::Discarded][usize::from(more)];
        assert_eq!(state(store, &last).await, expected);
    }
}

/// Settles everything that is due as done.
async fn publish_all<S: Store>(one: &Instance<S>) {
    loop {
        let rows = one.fetch().await.pending;
        if rows.is_empty() {
            return;
        }
        one.apply_all(&rows, &done()).await;
    }
}

async fn replay<S: Admin + ?Sized>(store: &S, filter: Filter) -> Replayed {
    let selection = Selection::Matching(filter);
    let replayed = store.replay(&Queue::Outbox, &selection, false).await;
    replayed.expect("replay")
}

async fn progress_of<S: Admin + ?Sized>(store: &S, replay: ReplayId) -> ReplayProgress {
    let progress = store.replay_progress(&Queue::Outbox, replay).await;
    progress.expect("replay_progress")
}

/// One message in each state, in the order of their codes.
pub(super) async fn one_of_each<H: Harness>(harness: &H) -> (Instance<H::Store>, Vec<MessageId>) {
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = State::ALL.map(|state| keyed(state.name(), state)).into();
    let ids = enqueue(harness, &drafts).await;
    let mut rows = one.fetch().await.pending;
    rows.sort_by_key(|row| row.seq);
    one.apply(&rows[1], unknown(LATER, false)).await;
    one.set_aside(&rows[2..3]).await;
    one.apply(&rows[3], dead(true)).await;
    one.apply(&rows[4], done()).await;
    discard_one(harness.store().as_ref(), &ids[5]).await;
    assert_eq!(states(harness.store().as_ref()).await, State::ALL);
    (one, ids)
}
