//! Refusing: what can never be stored is left out, and its neighbours go on.

use iobox_core::{
    message::{Limits, Origin},
    source::{Source as _, Start},
    store::Epoch,
};

use super::{
    Harness,
    support::{ORIGIN, Read, TOPICS, ids_of, message, numbered, open, range, room},
};

/// A payload beyond the limits is refused with its place, and its neighbours come.
pub async fn a_payload_beyond_the_limits_is_refused<H: Harness>() {
    let harness = H::fresh().await;
    let large = message(ORIGIN, "large", TOPICS[0], None, &[], vec![b'#'; 101]);
    harness.publish(&[numbered(0), large, numbered(1)]).await;
    let limits = Limits::new(100).expect("limits");
    let start = Start::new(None, Epoch(1), 1, limits);
    let mut reader = harness.source().open(&start).await.expect("a reader");
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    assert_eq!(read.ids(), ["0", "1"]);
    let [place] = &read.refused[..] else {
        panic!("one is refused: {read:?}");
    };
    assert!(!place.is_empty());
    reader.close().await;
}

/// What was refused does not come again behind the position, and its reason shows no content.
pub async fn a_refusal_is_passed_by<H: Harness>() {
    let harness = H::fresh().await;
    let large = message(ORIGIN, "large", TOPICS[0], None, &[], vec![b'#'; 101]);
    harness.publish(&[large, numbered(0)]).await;
    let start = |position, epoch| {
        let limits = Limits::new(100).expect("limits");
        Start::new(position, Epoch(epoch), 1, limits)
    };
    let opened = harness.source().open(&start(None, 1)).await;
    let mut reader = opened.expect("a reader");
    let (mut refused, mut stored, mut position) = (Vec::new(), 0, None);
    while refused.len() + stored < 2 {
        let batch = reader.next(room(10)).await.expect("a batch");
        refused.extend(batch.refused);
        stored += batch.deliveries.len();
        position = batch.position.or(position);
        reader.ack().await.expect("an ack");
    }
    assert!(!format!("{refused:?}").contains("##"), "{refused:?}");
    reader.close().await;
    let opened = harness.source().open(&start(position, 2)).await;
    let mut reader = opened.expect("a reader");
    let mut read = Read::default();
    read.nothing_more(reader.as_mut()).await;
    assert!(read.refused.is_empty(), "{read:?}");
    reader.close().await;
}

/// A message of another program comes with an id of its own, the same whenever it is read.
pub async fn a_foreign_message_has_an_id_of_its_own<H: Harness>() {
    let harness = H::fresh().await;
    if !H::TAKES_FOREIGN {
        return;
    }
    harness.foreign(b"one").await;
    harness.publish(&range(0, 1)).await;
    harness.foreign(b"two \xff").await;
    let mut seen = Vec::new();
    for epoch in 1..=2 {
        let mut reader = open(harness.source().as_ref(), None, epoch).await;
        let mut arrived = Vec::new();
        while arrived.len() < 3 {
            let batch = reader.next(room(10)).await.expect("a batch");
            arrived.extend(batch.deliveries.iter().map(|one| one.message().clone()));
        }
        seen.push(ids_of(&arrived));
        let foreign = arrived.iter().filter(|one| one.origin() == Origin::FOREIGN);
        let payloads: Vec<_> = foreign.map(|one| one.payload().to_vec()).collect();
        assert_eq!(payloads, [b"one".to_vec(), b"two \xff".to_vec()]);
        // Not acked, so that it can be read again.
        drop(reader);
    }
    assert_eq!(seen[0], seen[1]);
    let mut ids = seen.remove(0);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

/// Entries that the stream removed before they were read are told, and the rest comes.
pub async fn removed_entries_are_told<H: Harness>() {
    let harness = H::fresh().await;
    if !H::CAN_BE_TRIMMED {
        return;
    }
    harness.publish(&range(0, 10)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 10).await;
    assert_eq!(read.lost, 0, "nothing was removed");
    reader.close().await;
    harness.publish(&range(10, 30)).await;
    harness.trim(5).await;
    let mut reader = open(harness.source().as_ref(), read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 15).await;
    assert_eq!(read.ids()[10..], ids_of(&range(25, 30)));
    assert!((1..=15).contains(&read.lost), "15 were lost: {}", read.lost);
    reader.close().await;
}

/// What was read before it was removed is not lost.
pub async fn removing_what_was_read_loses_nothing<H: Harness>() {
    let harness = H::fresh().await;
    if !H::CAN_BE_TRIMMED {
        return;
    }
    harness.publish(&range(0, 10)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 10).await;
    reader.close().await;
    harness.trim(3).await;
    harness.publish(&range(10, 20)).await;
    let mut reader = open(harness.source().as_ref(), read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 20).await;
    assert_eq!((read.ids(), read.lost), (ids_of(&range(0, 20)), 0));
    reader.close().await;
}

/// A stream that was deleted and made anew is read from its beginning.
pub async fn a_stream_made_anew_is_read_from_its_beginning<H: Harness>() {
    let harness = H::fresh().await;
    if !H::CAN_BE_REMADE {
        return;
    }
    harness.publish(&range(0, 20)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 20).await;
    reader.close().await;
    harness.remake().await;
    harness.publish(&range(20, 25)).await;
    let mut reader = open(harness.source().as_ref(), read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 25).await;
    assert_eq!(read.ids(), ids_of(&range(0, 25)));
    reader.close().await;
    // One that is longer by the time it is read: a number alone does not tell it.
    harness.remake().await;
    harness.publish(&range(25, 55)).await;
    let mut reader = open(harness.source().as_ref(), read.position.as_ref(), 3).await;
    read.until(reader.as_mut(), 55).await;
    assert_eq!(read.ids(), ids_of(&range(0, 55)));
    reader.close().await;
}
