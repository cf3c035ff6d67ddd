//! Order: the seqs that enqueues draw.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Harness,
    support::{Instance, enqueue, entries, keyed, labels, matching, partitions, plain},
};

/// The drafts of one call get growing seqs in their order.
pub async fn drafts_of_a_call_keep_their_order<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let drafts: Vec<_> = (0..200).map(|n| keyed(&format!("k{}", n % 7), n)).collect();
    let ids = enqueue(&harness, &drafts).await;
    let stored = entries(harness.store().as_ref()).await;
    let stored: Vec<&str> = stored.iter().map(|entry| entry.id.as_str()).collect();
    let given: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    assert_eq!(stored, given, "listed by seq");
}

/// Transactions that run one after the other get growing seqs.
pub async fn later_transactions_get_higher_seqs<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let mut given = Vec::new();
    for n in 0..20 {
        given.extend(enqueue(&harness, &[plain(n), keyed("k", n)]).await);
    }
    let stored = entries(harness.store().as_ref()).await;
    let stored: Vec<&str> = stored.iter().map(|entry| entry.id.as_str()).collect();
    let given: Vec<&str> = given.iter().map(|id| id.as_str()).collect();
    assert_eq!(stored, given);
}

/// No two messages ever get the same seq, however many transactions race, and the messages of one
/// writer stay in his order.
pub async fn racing_writers_keep_their_own_order<H: Harness>() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 15;
    let harness = Arc::new(H::fresh(partitions(4)).await);
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let harness = Arc::clone(&harness);
            tokio::spawn(async move {
                let key = format!("writer-{writer}");
                for round in 0..ROUNDS {
                    let pair = [keyed(&key, 2 * round), keyed(&key, 2 * round + 1)];
                    enqueue(harness.as_ref(), &pair).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no writer panics");
    }
    let all = entries(harness.store().as_ref()).await;
    let seqs: BTreeSet<_> = all.iter().map(|entry| entry.seq).collect();
    assert_eq!(
        seqs.len(),
        WRITERS * ROUNDS * 2,
        "every message, each with its own seq"
    );
    let one = Instance::owner(harness.store()).await;
    let fetched = one.fetch().await;
    for writer in 0..WRITERS {
        let own = super::support::key(&format!("writer-{writer}"));
        let own: Vec<_> = fetched
            .pending
            .iter()
            .filter(|row| row.key.as_ref() == Some(&own))
            .map(super::support::label)
            .collect();
        let expected: Vec<_> = (0..2 * ROUNDS).map(|n| n.to_string()).collect();
        assert_eq!(own, expected, "writer {writer}");
    }
}

/// All messages of a key lie in the partition that the key hashes to, the same in the store as in
/// this library, for ten thousand texts.
pub async fn keys_hash_to_the_same_partition_everywhere<H: Harness>() {
    let many = partitions(256);
    let harness = H::fresh(many).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let alphabet: Vec<char> = "aZ09 _-%\\'\"$&:;é߀漢字😀\u{a0}\u{301}".chars().collect();
    let keys: BTreeSet<String> = (0..10_000)
        .map(|_| {
            (0..rng.usize(1..40))
                .map(|_| alphabet[rng.usize(..alphabet.len())])
                .collect()
        })
        .collect();
    let drafts: Vec<_> = keys.iter().map(|key| keyed(key, "x")).collect();
    for drafts in drafts.chunks(1_000) {
        enqueue(&harness, drafts).await;
    }
    let all = entries(harness.store().as_ref()).await;
    assert_eq!(all.len(), keys.len());
    for (entry, key) in all.iter().zip(&keys) {
        let stored = entry.key.as_ref().map(|key| key.as_str());
        assert_eq!(stored, Some(key.as_str()), "the key as it was given");
        assert_eq!(entry.partition, many.of(key), "{key:?}");
    }
}

/// A message without a key lies in the partition that its id hashes to.
pub async fn a_message_without_a_key_goes_by_its_id<H: Harness>() {
    let many = partitions(64);
    let harness = H::fresh(many).await;
    let mut drafts: Vec<_> = (0..50).map(|n| plain(n).id(format!("id-{n}"))).collect();
    drafts.extend((0..50).map(plain));
    enqueue(&harness, &drafts).await;
    let all = entries(harness.store().as_ref()).await;
    assert_eq!(all.len(), 100);
    for entry in all {
        assert_eq!(entry.partition, many.of(&entry.id), "{}", entry.id);
    }
}

/// A key and an id with the same text do not order each other.
pub async fn an_id_is_no_key<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("same", "a"), plain("b").id("same")]).await;
    let head = one.fetch().await.pending.remove(0);
    one.apply(&head, super::support::retry(super::support::LATER))
        .await;
    assert_eq!(labels(&one.fetch().await), ["b"]);
    let keyed = iobox_core::store::Filter {
        key: Some(super::support::key("same")),
        ..Default::default()
    };
    assert_eq!(matching(harness.store().as_ref(), &keyed).await.len(), 1);
}
