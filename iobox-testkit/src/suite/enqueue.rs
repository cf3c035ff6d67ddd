//! Enqueueing: all or nothing, in order, and checked before anything is written.

use std::collections::HashSet;

use iobox_core::{
    ErrorKind,
    message::{Draft, Limits},
    partition::Partition,
    store::{Body, Enqueued, State},
};

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, TOPIC, enqueue, enqueue_results, entries, key, keyed, labels, partitions, plain,
        try_enqueue,
    },
};

/// Drafts that break a bound, with the field that the error must name.
fn bad_drafts() -> Vec<(Draft, &'static str)> {
    let long = "x".repeat(256);
    let topics = [
        "", "a b", "a..b", ".a", "a.", "a.*", "a.>", "$SYS.a", "_INBOX.a", "é", "a\u{0}",
    ];
    let topics = topics.into_iter().map(|topic| Draft::new(topic, "x"));
    let keys = ["", "a\nb", "a\u{0}b", &long].map(|bad| plain("x").key(bad));
    let ids = ["", "a\tb", "a\u{7f}", &long].map(|bad| plain("x").id(bad));
    let headers = [
        plain("x").header("", "x"),
        plain("x").header("a b", "x"),
        plain("x").header("Nats-Msg-Id", "x"),
        plain("x").header("IOBOX-Id", "x"),
        plain("x").header("a", "line\nbreak"),
        plain("x").header("a", "x".repeat(4_097)),
        plain("x").header("a", "1").header("A", "2"),
        (0..65).fold(plain("x"), |draft, n| draft.header(format!("h{n}"), "x")),
        (0..5).fold(plain("x"), |draft, n| {
            draft.header(format!("h{n}"), "x".repeat(4_000))
        }),
    ];
    let payload = Draft::new(TOPIC, vec![0; Limits::PAYLOAD_DEFAULT + 1]);
    let many = Draft::new(vec!["a"; 17].join("."), "x");
    let mut bad: Vec<_> = topics.map(|draft| (draft, "topic")).collect();
    bad.extend(keys.map(|draft| (draft, "key")));
    bad.extend(ids.map(|draft| (draft, "id")));
    bad.extend(headers.map(|draft| (draft, "header")));
    bad.extend([(payload, "payload"), (many, "topic")]);
    bad
}

/// A draft that breaks a bound is refused as invalid, and the error names the field.
pub async fn bad_drafts_are_refused<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for (draft, field) in bad_drafts() {
        let error = try_enqueue(&harness, std::slice::from_ref(&draft)).await;
        let error = error.expect_err("a bad draft");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{draft:?}: {error}");
        assert!(error.to_string().contains(field), "{draft:?}: {error}");
    }
    assert!(entries(harness.store().as_ref()).await.is_empty());
}

/// One bad draft among good ones keeps all of the call from being written, wherever it stands, and
/// leaves the transaction as good as before.
pub async fn a_bad_draft_spoils_its_call_and_nothing_else<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for at in 0..3 {
        let mut drafts = vec![plain("spoiled").id(format!("s{at}")), plain("spoiled")];
        drafts.insert(at, Draft::new("a b", "x"));
        let mut open = harness.begin().await.expect("begin");
        open.enqueue(&[plain("before")]).await.expect("enqueue");
        let error = open.enqueue(&drafts).await.expect_err("a bad draft");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        open.enqueue(&[plain("after")])
            .await
            .expect("the transaction is as good as before");
        open.commit().await.expect("commit");
    }
    let one = Instance::owner(harness.store()).await;
    let expected = ["before", "after", "before", "after", "before", "after"];
    assert_eq!(labels(&one.fetch().await), expected);
    // Their ids were not taken either.
    enqueue(
        &harness,
        &[
            plain("x").id("s0"),
            plain("x").id("s1"),
            plain("x").id("s2"),
        ],
    )
    .await;
}

/// Drafts at every bound are taken, and come back as they were.
pub async fn drafts_at_every_bound_are_taken<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let text = format!("{}é", "x".repeat(253));
    let topic = vec!["abcdefghijklmn"; 16].join(".");
    let draft = (0..4).fold(
        Draft::new(topic.clone(), vec![0xff; Limits::PAYLOAD_DEFAULT]),
        |draft, n| draft.header(format!("h{n}"), "x".repeat(4_000)),
    );
    enqueue(&harness, &[draft.id(&text).key(&text), Draft::new("a", "")]).await;
    let one = Instance::owner(harness.store()).await;
    let rows = one.fetch().await.pending;
    assert_eq!(rows.len(), 2);
    for (row, payload) in rows.iter().zip([Limits::PAYLOAD_DEFAULT, 0]) {
        let Body::Message(message) = &row.body else {
            panic!("{:?} is corrupt", row.seq);
        };
        assert_eq!(message.payload().len(), payload);
        assert_eq!(row.size, message.size());
        let full = payload > 0;
        let expected = if full { topic.as_str() } else { "a" };
        assert_eq!(message.topic().as_str(), expected);
        assert_eq!(message.key(), full.then(|| key(&text)).as_ref());
        assert_eq!(message.id().as_str() == text, full);
        assert_eq!(message.headers().len(), if full { 4 } else { 0 });
    }
}

/// Texts that a database could misread come back as they were.
pub async fn awkward_texts_come_back_as_they_were<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let texts = [
        "'; drop table message; --",
        "\\x00 \\u0000 \\' %s $1 ? :a {}",
        "null",
        "0",
        " leading and trailing ",
        "漢字 😀 e\u{301} \u{200b} \u{feff} ﷽",
        "[\"a\",\"b\"]",
        "{\"a\": 1}",
    ];
    let drafts = texts.map(|text| plain(text).id(text).key(text).header("text", text));
    enqueue(&harness, &drafts).await;
    let one = Instance::owner(harness.store()).await;
    let rows = one.fetch().await.pending;
    assert_eq!(rows.len(), texts.len());
    for (row, text) in rows.iter().zip(texts) {
        let Body::Message(message) = &row.body else {
            panic!("{text:?} is corrupt");
        };
        assert_eq!(message.id().as_str(), text);
        assert_eq!(message.key(), Some(&key(text)));
        assert_eq!(message.headers().get("text"), Some(text));
        assert_eq!(message.payload().as_ref(), text.as_bytes());
    }
}

/// Ids that the store draws are all different, and different from those of other transactions.
pub async fn drawn_ids_are_unique<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let drafts: Vec<_> = (0..500).map(plain).collect();
    let mut ids = HashSet::new();
    for _ in 0..4 {
        ids.extend(enqueue(&harness, &drafts).await);
    }
    assert_eq!(ids.len(), 2_000);
}

/// The results of a call stand in the order of its drafts, with the ids that the messages have.
pub async fn results_stand_in_the_order_of_the_drafts<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let drafts = [
        plain("a").id("1"),
        plain("b"),
        plain("c").id("0"),
        keyed("k", "d").id("2"),
    ];
    let results = enqueue_results(&harness, &drafts).await;
    let stored = entries(harness.store().as_ref()).await;
    assert_eq!(stored.len(), 4);
    for (result, entry) in results.iter().zip(&stored) {
        assert!(matches!(result, Enqueued::New(_)), "{result:?}");
        assert_eq!(result.id().as_str(), entry.id);
    }
    let given: Vec<_> = stored.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!([given[0], given[2], given[3]], ["1", "0", "2"]);
}

/// Several calls in one transaction commit together, in order.
pub async fn several_calls_commit_together<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut open = harness.begin().await.expect("begin");
    for n in 0..5 {
        open.enqueue(&[plain(2 * n), plain(2 * n + 1)])
            .await
            .expect("enqueue");
    }
    open.commit().await.expect("commit");
    let one = Instance::owner(harness.store()).await;
    let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(labels(&one.fetch().await), expected);
}

/// A call without drafts writes nothing and succeeds.
pub async fn no_drafts_are_no_messages<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    assert_eq!(enqueue_results(&harness, &[]).await, []);
    assert!(entries(harness.store().as_ref()).await.is_empty());
}

/// One call takes ten thousand drafts and keeps their order.
pub async fn ten_thousand_drafts_are_one_call<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let drafts: Vec<_> = (0..10_000).map(plain).collect();
    let ids = enqueue(&harness, &drafts).await;
    let stored = entries(harness.store().as_ref()).await;
    assert_eq!(stored.len(), ids.len());
    assert!(
        stored
            .iter()
            .zip(&ids)
            .all(|(entry, id)| entry.id == id.as_str())
    );
}

/// A new message is pending, with no attempts, in the store's own time.
pub async fn a_new_message_is_pending<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[keyed("k", "a")]).await;
    harness.advance(super::support::LATER).await;
    enqueue(&harness, &[plain("b")]).await;
    let stored = entries(harness.store().as_ref()).await;
    let apart = stored[1].enqueued_at.duration_since(stored[0].enqueued_at);
    assert!(apart.expect("the clock goes forward") >= super::support::LATER);
    for entry in stored {
        assert_eq!((entry.state, entry.attempt), (State::Pending, 0));
        assert_eq!(entry.partition, Partition::new(0));
        assert!(!entry.uncertain && !entry.halts, "{entry:?}");
        assert_eq!((entry.reason, entry.settled_at), (None, None));
    }
}
