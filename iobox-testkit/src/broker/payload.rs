//! Payloads: any bytes, from none to the bound, and what happens beyond it.

use iobox_core::{
    message::{Limits, Message},
    publisher::{PublishError, Receipt},
};

use super::{
    Harness,
    support::{
        ORIGIN, assert_holds, ids, keyed, labelled, message, payload, publish, publish_all,
        publish_one,
    },
};

/// An empty payload arrives as an empty payload.
pub async fn an_empty_payload_arrives<H: Harness>() {
    let harness = H::fresh().await;
    let one = payload("a", "");
    publish_all(harness.publisher().as_ref(), std::slice::from_ref(&one)).await;
    assert_holds(&harness, &[one]).await;
}

/// Every byte arrives as it is, in any place: zeros, line ends, what is no UTF-8.
pub async fn every_byte_arrives<H: Harness>() {
    let harness = H::fresh().await;
    let every: Vec<u8> = (0..=255).collect();
    let batch: Vec<Message> = [
        every,
        b"\r\n$3\r\n+OK\r\n".to_vec(),
        vec![0; 3],
        vec![0xff, 0xfe],
        b" \t".to_vec(),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, bytes)| payload(&n.to_string(), bytes))
    .collect();
    for one in &batch {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, &batch).await;
}

/// The largest payload arrives, also with every other part at its longest.
pub async fn the_largest_payload_arrives<H: Harness>() {
    let harness = H::fresh().await;
    let longest = "x".repeat(255);
    let value = "v".repeat(4_000);
    let headers: Vec<(&str, &str)> = ["a", "b", "c", "d"]
        .map(|name| (name, value.as_str()))
        .into();
    let batch = [
        payload("largest", pattern(H::PAYLOAD_MAX)),
        message(
            ORIGIN,
            &longest,
            &longest,
            Some(&longest),
            &headers,
            pattern(H::PAYLOAD_MAX),
        ),
    ];
    publish_all(harness.publisher().as_ref(), &batch).await;
    assert_holds(&harness, &batch).await;
}

/// A batch of large payloads arrives whole.
pub async fn a_batch_of_large_payloads_arrives<H: Harness>() {
    let harness = H::fresh().await;
    let batch: Vec<Message> = (0..32)
        .map(|n| payload(&n.to_string(), pattern(Limits::PAYLOAD_DEFAULT - n)))
        .collect();
    publish_all(harness.publisher().as_ref(), &batch).await;
    let mut sizes: Vec<usize> = harness
        .stored()
        .await
        .iter()
        .map(|one| one.payload.len())
        .collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let sent: Vec<usize> = batch.iter().map(|one| one.payload().len()).collect();
    assert_eq!(sizes, sent);
}

/// A payload that is too large is refused for good, and the publisher works on. Where no payload is
/// too large, one of twice the bound of core arrives.
pub async fn a_payload_too_large_is_refused_for_good<H: Harness>() {
    let harness = H::fresh().await;
    let publisher = harness.publisher().as_ref();
    let Some(size) = H::PAYLOAD_REFUSED else {
        let one = payload("a", pattern(2 * Limits::PAYLOAD_MAX));
        publish_all(publisher, std::slice::from_ref(&one)).await;
        return assert_holds(&harness, &[one]).await;
    };
    let outcome = publish_one(publisher, &payload("a", pattern(size))).await;
    assert!(is_permanent(&outcome), "{outcome:?}");
    publish_all(publisher, &[labelled("b")]).await;
    assert_holds(&harness, &[labelled("b")]).await;
}

/// A payload that is too large leaves the others of its batch alone, wherever it stands. Where no
/// payload is too large, all arrive.
pub async fn a_payload_too_large_leaves_its_neighbours_alone<H: Harness>() {
    const COUNT: usize = 9;
    let harness = H::fresh().await;
    let size = H::PAYLOAD_REFUSED.unwrap_or(Limits::PAYLOAD_DEFAULT);
    let mut arrived = Vec::new();
    for large in [vec![0], vec![4], vec![8], vec![0, 1, 7, 8]] {
        let id = |n: usize| format!("{large:?}-{n}");
        let batch: Vec<Message> = (0..COUNT)
            .map(|n| {
                if large.contains(&n) {
                    payload(&id(n), pattern(size))
                } else {
                    keyed(&id(n), id(n))
                }
            })
            .collect();
        let outcomes = publish(harness.publisher().as_ref(), &batch).await;
        for (n, outcome) in outcomes.iter().enumerate() {
            if large.contains(&n) && H::PAYLOAD_REFUSED.is_some() {
                assert!(is_permanent(outcome), "message {n}: {outcome:?}");
            } else {
                assert_eq!(*outcome, Ok(Receipt::new()), "message {n}");
                arrived.push(id(n));
            }
        }
    }
    let mut kept = ids(&harness).await;
    kept.sort();
    arrived.sort();
    assert_eq!(kept, arrived);
}

/// The reason of a refusal names a size and shows nothing of the payload, of the key, or of a
/// header's value. Where no payload is too large, there is no refusal.
pub async fn a_refusal_shows_no_content<H: Harness>() {
    const CANARY: &str = "canary-7f3a";
    let harness = H::fresh().await;
    let size = H::PAYLOAD_REFUSED.unwrap_or(Limits::PAYLOAD_MAX);
    let text = CANARY.repeat(size.div_ceil(CANARY.len()));
    let headers = [("secret", CANARY)];
    let one = message(ORIGIN, "a", "t", Some(CANARY), &headers, text);
    let outcome = publish_one(harness.publisher().as_ref(), &one).await;
    assert_eq!(outcome.is_ok(), H::PAYLOAD_REFUSED.is_none());
    if let Err(error) = outcome {
        let text = error.to_string();
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains(|c: char| c.is_ascii_digit()), "{text}");
    }
}

/// Bytes that a broker would find hard to mistake for others.
fn pattern(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

const fn is_permanent(outcome: &super::support::Outcome) -> bool {
    matches!(outcome, Err(PublishError::Permanent(_)))
}
