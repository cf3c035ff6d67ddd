//! Listings: what a person sees of the messages.

use iobox_core::{
    ErrorKind,
    message::{Draft, MessageId, Topic},
    partition::Partition,
    queue::Queue,
    store::{Admin, Body, Filter, Page, Seq, State},
};

use super::{
    Harness,
    replay::one_of_each,
    support::{TOPIC, enqueue, entries, entry, key, keyed, matching, partitions, plain},
};

/// Messages are listed by seq, page by page, without gaps or repetitions.
pub async fn pages_follow_each_other<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let drafts: Vec<_> = (0..25).map(|n| keyed(&format!("k{n}"), n)).collect();
    let ids = enqueue(&harness, &drafts).await;
    let mut seen = Vec::new();
    let mut after = None;
    for expected in [7, 7, 7, 4, 0] {
        let page = Page { after, limit: 7 };
        let listed = harness
            .store()
            .list(&Queue::Outbox, &Filter::default(), page)
            .await;
        let listed = listed.expect("list");
        assert_eq!(listed.len(), expected);
        after = listed.last().map(|entry| entry.seq).or(after);
        seen.extend(listed.into_iter().map(|entry| entry.id));
    }
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(seen, ids);
}

/// A page behind the last message is empty.
pub async fn a_page_behind_the_end_is_empty<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a")]).await;
    let page = Page {
        after: Some(Seq(i64::MAX)),
        limit: 10,
    };
    let listed = harness
        .store()
        .list(&Queue::Outbox, &Filter::default(), page)
        .await;
    assert!(listed.expect("list").is_empty());
}

/// A page has 1 to 1,000 entries; anything else is refused.
pub async fn the_limit_of_a_page_is_checked<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a"), plain("b")]).await;
    for (limit, good) in [(0, false), (1, true), (1_000, true), (1_001, false)] {
        let page = Page { after: None, limit };
        let listed = harness
            .store()
            .list(&Queue::Outbox, &Filter::default(), page)
            .await;
        match listed {
            Ok(listed) => {
                assert!(good, "a page of {limit}");
                assert_eq!(listed.len(), usize::from(limit).min(2));
            }
            Err(error) => {
                assert!(!good, "{error}");
                assert_eq!(error.kind(), ErrorKind::Invalid);
            }
        }
    }
}

/// A filter by states lists the messages in any of them.
pub async fn a_filter_by_states_holds<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let _one = one_of_each(&harness).await;
    for states in [
        vec![State::Dead],
        vec![State::Pending, State::Waiting],
        State::ALL.to_vec(),
    ] {
        let filter = Filter {
            states: states.clone(),
            ..Filter::default()
        };
        let listed = matching(harness.store().as_ref(), &filter).await;
        let listed: Vec<_> = listed.into_iter().map(|entry| entry.state).collect();
        assert_eq!(listed, states);
    }
}

/// Filters by topic, key and partition hold, alone and together.
pub async fn filters_hold_alone_and_together<H: Harness>() {
    let many = partitions(16);
    let harness = H::fresh(many).await;
    let other = |label: &str| Draft::new("orders.closed", label.to_owned());
    let drafts = [
        keyed("k", "0"),
        other("1").key("k"),
        keyed("l", "2"),
        other("3"),
        plain("4"),
    ];
    let ids = enqueue(&harness, &drafts).await;
    let topic = |text| Topic::new(text).ok();
    let by = |topic, key, partition| Filter {
        topic,
        key,
        partition,
        ..Filter::default()
    };
    let of_k = Some(many.of("k"));
    let elsewhere = many.iter().find(|one| Some(*one) != of_k);
    let cases: [(Filter, &[usize]); 6] = [
        (by(topic(TOPIC), None, None), &[0, 2, 4]),
        (by(topic("orders.closed"), None, None), &[1, 3]),
        (by(None, Some(key("k")), None), &[0, 1]),
        (by(topic(TOPIC), Some(key("k")), of_k), &[0]),
        (by(None, Some(key("k")), elsewhere), &[]),
        (by(topic("orders"), None, None), &[]),
    ];
    for (filter, expected) in cases {
        let listed = matching(harness.store().as_ref(), &filter).await;
        let listed: Vec<_> = listed.iter().map(|entry| entry.id.as_str()).collect();
        let expected: Vec<_> = expected.iter().map(|at| ids[*at].as_str()).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

/// The partitions of all listings together are the whole listing.
pub async fn partitions_add_up_to_the_whole<H: Harness>() {
    let many = partitions(8);
    let harness = H::fresh(many).await;
    let drafts: Vec<_> = (0..64).map(plain).collect();
    enqueue(&harness, &drafts).await;
    let mut sum = 0;
    for partition in many.iter() {
        let filter = Filter {
            partition: Some(partition),
            ..Filter::default()
        };
        let listed = matching(harness.store().as_ref(), &filter).await;
        assert!(listed.iter().all(|entry| entry.partition == partition));
        sum += listed.len();
    }
    assert_eq!(sum, 64);
    let filter = Filter {
        partition: Some(Partition::new(200)),
        ..Filter::default()
    };
    assert!(matching(harness.store().as_ref(), &filter).await.is_empty());
}

/// A listing shows no payload; looking at one message shows it whole.
pub async fn only_one_message_shows_its_payload<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let draft = keyed("k", "payload").id("x").header("name", "value");
    let id = enqueue(&harness, &[draft]).await.remove(0);
    let store = harness.store().as_ref();
    let listed = entries(store).await.remove(0);
    assert!(listed.body.is_none(), "{:?}", listed.body);
    let one = entry(store, &id).await;
    assert_eq!((one.id.as_str(), one.seq), ("x", listed.seq));
    assert_eq!((one.topic.as_str(), one.key), (TOPIC, Some(key("k"))));
    let Some(Body::Message(message)) = one.body else {
        panic!("the message comes with its body");
    };
    assert_eq!(message.payload().as_ref(), b"payload");
    assert_eq!(message.headers().get("NAME"), Some("value"));
}

/// Looking at a message that nobody enqueued finds nothing.
pub async fn an_unknown_message_is_not_found<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a").id("x")]).await;
    let unknown = MessageId::new("X").expect("a valid id");
    let found = harness.store().get(&Queue::Outbox, &unknown).await;
    assert!(found.expect("get").is_none());
}
