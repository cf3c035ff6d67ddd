//! Resuming: the stored position is the truth about what was read.

use iobox_core::source::{Order, Source as _};

use super::{
    Harness,
    support::{Read, ids_of, open, range, reopen, room, start},
};

fn ordered<H: Harness>(harness: &H) -> bool {
    harness.source().order() == Order::Stream
}

/// A reader begins behind its position, under the next epoch, and misses nothing.
pub async fn a_reader_begins_behind_its_position<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 40)).await;
    let mut read = Read::default();
    for epoch in 1..=4 {
        let source = harness.another().await.expect("a source");
        let mut reader = open(source.as_ref(), read.position.as_ref(), epoch).await;
        for _ in 0..2 {
            read.step(reader.as_mut(), room(5)).await.expect("a batch");
        }
        reader.close().await;
        let from = 30 + usize::try_from(epoch).expect("small") * 10;
        harness.publish(&range(from, from + 10)).await;
    }
    let mut reader = open(harness.source().as_ref(), read.position.as_ref(), 5).await;
    read.until(reader.as_mut(), 80).await;
    assert_eq!(read.ids(), ids_of(&range(0, 80)));
    reader.close().await;
}

/// What was read and not acked comes again to a reader that begins before it.
pub async fn what_was_not_acked_comes_again<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 10)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut seen = 0;
    while seen < 10 {
        seen += reader
            .next(room(10))
            .await
            .expect("a batch")
            .deliveries
            .len();
    }
    drop(reader);
    let mut reader = reopen(harness.source().as_ref(), None, 2).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 10).await;
    let mut ids = read.ids();
    if !ordered(&harness) {
        ids.sort_by_key(|id| id.parse::<usize>().ok());
    }
    assert_eq!(ids, ids_of(&range(0, 10)));
    reader.close().await;
}

/// What is at or below the position never comes again, although the broker was never told.
pub async fn nothing_at_or_below_the_position_comes<H: Harness>() {
    let harness = H::fresh().await;
    if !ordered(&harness) {
        return what_was_not_acked_comes_again::<H>().await;
    }
    harness.publish(&range(0, 20)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut seen = 0;
    let mut position = None;
    while seen < 12 {
        let batch = reader.next(room(12 - seen)).await.expect("a batch");
        seen += batch.deliveries.len();
        position = batch.position.or(position);
    }
    drop(reader);
    let mut reader = open(harness.source().as_ref(), position.as_ref(), 2).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 8).await;
    assert_eq!(read.ids(), ids_of(&range(12, 20)));
    read.nothing_more(reader.as_mut()).await;
    reader.close().await;
}

/// A reader of an older epoch that goes on takes nothing away from the one that took over.
pub async fn a_stale_reader_takes_nothing_away<H: Harness>() {
    let harness = H::fresh().await;
    if !ordered(&harness) {
        return what_was_not_acked_comes_again::<H>().await;
    }
    harness.publish(&range(0, 10)).await;
    let mut stale = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(stale.as_mut(), 10).await;
    let source = harness.another().await.expect("a source");
    let mut current = open(source.as_ref(), read.position.as_ref(), 2).await;
    for round in 1..=5 {
        harness.publish(&range(round * 10, round * 10 + 10)).await;
        // What the stale one gets is fenced off by the store; it may also fail.
        if let Ok(batch) = stale.next(room(10)).await
            && !batch.is_empty()
        {
            let _ = stale.ack().await;
        }
        read.until(current.as_mut(), round * 10 + 10).await;
    }
    assert_eq!(read.ids(), ids_of(&range(0, 60)));
    drop(stale);
    current.close().await;
}

/// The same stream can be read again by another opening of the same epoch.
pub async fn another_opening_reads_on<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 30)).await;
    let mut read = Read::default();
    let mut at = start(None, 1);
    while read.deliveries.len() < 30 {
        at.position = read.position.clone();
        let opened = harness.source().open(&at).await;
        let mut reader = opened.expect("a reader");
        read.step(reader.as_mut(), room(7)).await.expect("a batch");
        reader.close().await;
        at.opening += 1;
    }
    let mut ids = read.ids();
    if !ordered(&harness) {
        ids.sort_by_key(|id| id.parse::<usize>().ok());
    }
    assert_eq!(ids, ids_of(&range(0, 30)));
}

/// A reader that is dropped while it waits leaves everything to the next.
pub async fn a_dropped_wait_loses_nothing<H: Harness>() {
    let harness = H::fresh().await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let next = reader.next(room(10));
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(20), next).await;
    assert!(cancelled.is_err() || cancelled.is_ok_and(|batch| batch.is_ok()));
    drop(reader);
    harness.publish(&range(0, 10)).await;
    let mut reader = reopen(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 10).await;
    reader.close().await;
}
