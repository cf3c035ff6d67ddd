//! Reading: what was published comes, whole and in order.

use std::time::Duration;

use iobox_core::source::{Room, Source as _};
use tokio::time::{sleep, timeout};

use super::{
    Harness,
    support::{
        ORIGIN, PATIENCE, Read, TOPICS, by_topic, ids_of, message, numbered, open, other_origin,
        range, room, start,
    },
};
use crate::hostile;

/// Messages come back as they were published: origin, id, topic, key, headers and payload.
pub async fn a_message_comes_back_as_it_was_published<H: Harness>() {
    let harness = H::fresh().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let headers = [
        ("content-type", "application/octet-stream"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("X-Mixed-Case", " blanks around "),
        ("note", "Grüße, 注文"),
    ];
    let messages = [
        message(
            ORIGIN,
            "注文-1 🚚",
            TOPICS[0],
            Some("a/b c%20"),
            &headers,
            every_byte,
        ),
        message(ORIGIN, "-1", TOPICS[1], None, &[], ""),
        message(
            other_origin(),
            "-1",
            TOPICS[1],
            Some("é"),
            &[],
            "{\"n\": 1.0}",
        ),
        message(
            ORIGIN,
            &"x".repeat(255),
            TOPICS[2],
            Some(&"🚚".repeat(63)),
            &[],
            "z",
        ),
    ];
    harness.publish(&messages).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), messages.len()).await;
    assert_eq!(read.by_topic::<H>(), by_topic::<H>(messages.iter()));
    reader.close().await;
}

/// Whatever core takes comes back as it was: the hostile ids, keys, headers and payloads.
pub async fn hostile_messages_come_back<H: Harness>() {
    let harness = H::fresh().await;
    let messages = hostile::messages_of(ORIGIN, TOPICS[0]);
    for some in messages.chunks(16) {
        harness.publish(some).await;
    }
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), messages.len()).await;
    assert_eq!(read.by_topic::<H>(), by_topic::<H>(messages.iter()));
    reader.close().await;
}

/// Messages come in the order of the stream, each once, also when there are many.
pub async fn messages_come_in_the_order_of_the_stream<H: Harness>() {
    let harness = H::fresh().await;
    let messages = range(0, 3_000);
    harness.publish(&messages).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), messages.len()).await;
    assert_eq!(read.ids(), ids_of(&messages));
    read.nothing_more(reader.as_mut()).await;
    reader.close().await;
}

/// Messages of several topics all come, each topic in its order, and all in one order where the
/// stream has one.
pub async fn topics_keep_their_order<H: Harness>() {
    let harness = H::fresh().await;
    let messages: Vec<_> = (0..300)
        .map(|n| message(ORIGIN, &n.to_string(), TOPICS[n % 3], Some("k"), &[], "p"))
        .collect();
    harness.publish(&messages).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), messages.len()).await;
    assert_eq!(read.by_topic::<H>(), by_topic::<H>(messages.iter()));
    if H::ONE_ORDER {
        assert_eq!(read.ids(), ids_of(&messages));
    }
    reader.close().await;
}

/// An empty stream brings an empty batch when the wait is over, not before and not much later.
pub async fn an_empty_stream_brings_an_empty_batch<H: Harness>() {
    let harness = H::fresh().await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    for wait in [10, 700] {
        let room = Room {
            wait: Duration::from_millis(wait),
            ..room(10)
        };
        let batch = timeout(PATIENCE, reader.next(room)).await;
        let batch = batch.expect("next returns").expect("a batch");
        assert!(batch.is_empty(), "{batch:?}");
    }
    reader.close().await;
}

/// A reader that waits gets a message that is published then, long before the wait is over.
pub async fn a_waiting_reader_gets_what_is_published<H: Harness>() {
    let harness = H::fresh().await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let patient = Room {
        wait: PATIENCE * 2,
        ..room(10)
    };
    for n in 0..3 {
        let publishing = async {
            // The reader is to wait first; when it does not, the case still holds.
            sleep(Duration::from_millis(50)).await;
            harness.publish(&[numbered(n)]).await;
        };
        let (batch, ()) = tokio::join!(timeout(PATIENCE, reader.next(patient)), publishing);
        let batch = batch.expect("the wait ends early").expect("a batch");
        assert_eq!(batch.deliveries.len(), 1);
        reader.ack().await.expect("an ack");
    }
    reader.close().await;
}

/// A batch has no more messages than its room, and the rest comes with the next ones.
pub async fn a_batch_stays_within_its_room<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 50)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    let sizes = [1, 7, 3, 20, 2];
    for size in sizes.iter().cycle() {
        if read.deliveries.len() == 50 {
            break;
        }
        let step = read.step(reader.as_mut(), room(*size));
        step.await.expect("a batch");
    }
    assert_eq!(read.ids(), ids_of(&range(0, 50)));
    reader.close().await;
}

/// A batch has no more bytes than its room, but for a single message that is larger.
pub async fn a_batch_stays_within_its_bytes<H: Harness>() {
    let harness = H::fresh().await;
    let large: Vec<_> = (0..12_usize)
        .map(|n| {
            let size = if n == 5 { 200_000 } else { 20_000 };
            message(ORIGIN, &n.to_string(), TOPICS[0], None, &[], vec![7; size])
        })
        .collect();
    harness.publish(&large).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let room = Room {
        bytes: 64 * 1024,
        ..room(100)
    };
    let mut ids = Vec::new();
    let all = timeout(PATIENCE, async {
        while ids.len() < large.len() {
            let batch = reader.next(room).await.expect("a batch");
            let bytes: usize = batch
                .deliveries
                .iter()
                .map(|one| one.message().size())
                .sum();
            assert!(
                bytes <= room.bytes || batch.deliveries.len() == 1,
                "{bytes} bytes"
            );
            ids.extend(
                batch
                    .deliveries
                    .iter()
                    .map(|one| one.message().id().to_string()),
            );
            if batch.position.is_some() || !batch.deliveries.is_empty() {
                reader.ack().await.expect("an ack");
            }
        }
    });
    assert!(all.await.is_ok(), "all messages come: {ids:?}");
    assert_eq!(ids, ids_of(&large));
    reader.close().await;
}

/// A probe finds a stream that can be read, and changes nothing.
pub async fn a_probe_finds_the_stream<H: Harness>() {
    let harness = H::fresh().await;
    harness.source().probe().await.expect("a probe");
    harness.publish(&range(0, 3)).await;
    harness.source().probe().await.expect("a probe");
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    harness.source().probe().await.expect("a probe");
    reader.close().await;
}

/// An arrival says how old it is, which is no more than the case has lasted.
pub async fn an_arrival_tells_its_age<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 3)).await;
    let opened = harness.source().open(&start(None, 1)).await;
    let mut reader = opened.expect("a reader");
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    for delivery in &read.deliveries {
        if let Some(age) = delivery.age() {
            assert!(age <= PATIENCE * 10, "{age:?}");
        }
    }
    reader.close().await;
}
