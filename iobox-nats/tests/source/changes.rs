//! Changes of the stream under its reader: trimmed, cleaned, deleted and made anew.

use std::ops::Range;

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::{
    inbox::SourceName,
    message::Message,
    source::{Position, Source as _},
};
use iobox_testkit::broker::support::{ORIGIN, message};

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, dry, numbered, open, source},
    support::server,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_dropped_is_counted_once() {
    let server = server::shared().await;
    let desk = Desk::with(server.url(), |config| config.max_messages = 10).await;
    let source = desk.source();
    desk.publish(0..5).await;
    let mut reader = open(&source, None, 1, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 5).await;
    reader.close().await;
    // 5 to 19 go, 20 to 29 stay.
    desk.publish(5..30).await;
    let mut reader = open(&source, read.position.clone(), 1, 2).await;
    read.until(reader.as_mut(), 15).await;
    assert_eq!(read.lost, 15);
    assert_eq!(
        read.ids[5..],
        (20..30).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    reader.close().await;
    let mut reader = open(&source, read.position.clone(), 1, 3).await;
    dry(reader.as_mut()).await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_emptied_is_counted_without_a_message() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..5).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 5).await;
        reader.close().await;
        desk.publish(5..12).await;
        let stream = desk.place.context.get_stream(&desk.place.name).await;
        stream.expect("a stream").purge().await.expect("a purge");
        let mut reader = open(&source, read.position.clone(), 2, 1).await;
        read.once(reader.as_mut(), ROOM).await.expect("a batch");
        assert_eq!((read.ids.len(), read.lost), (5, 7));
        dry(reader.as_mut()).await;
        drop(reader);
        // The position says that these are told.
        let mut reader = open(&source, read.position.clone(), 2, 2).await;
        dry(reader.as_mut()).await;
        desk.publish(12..14).await;
        read.until(reader.as_mut(), 7).await;
        assert_eq!(
            (read.ids.last().expect("an id").as_str(), read.lost),
            ("13", 7)
        );
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_were_deleted_one_by_one_are_counted() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    desk.publish(0..10).await;
    let stream = desk.place.context.get_stream(&desk.place.name).await;
    let stream = stream.expect("a stream");
    for sequence in [1, 4, 5] {
        stream.delete_message(sequence).await.expect("a deletion");
    }
    let mut reader = open(&desk.source(), None, 1, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 7).await;
    // The first was gone before anybody read.
    assert_eq!(read.lost, 2);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_some_topics_nothing_is_counted() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let source = source(desk.config().topics(["stock.>"]));
    desk.publish_all(&mixed(0..20, &[3, 9, 15])).await;
    let mut reader = open(&source, None, 1, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    assert_eq!(read.ids, ["3", "9", "15"]);
    assert_eq!(read.lost, 0);
    dry(reader.as_mut()).await;
    reader.close().await;
}

/// Messages of which those of some numbers have another topic.
fn mixed(numbers: Range<u32>, stock: &[u32]) -> Vec<Message> {
    let moved = |number: u32| message(ORIGIN, &number.to_string(), "stock.moved", None, &[], "");
    numbers
        .map(|number| match stock.contains(&number) {
            true => moved(number),
            false => numbered(number),
        })
        .collect()
}

/// The ids of some numbers.
fn ids(numbers: Range<u32>, which: impl Fn(&u32) -> bool) -> Vec<String> {
    let chosen = numbers.filter(which);
    chosen.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_topics_left_is_brought_when_they_are_read() {
    let server = server::shared().await;
    let stock = [3, 6, 13, 16];
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        if retention == RetentionPolicy::Interest {
            // Without somebody else who wants them, it would keep none of the others.
            desk.keep().await;
        }
        // A work queue keeps what was not acked; the others keep all.
        let keeps = retention != RetentionPolicy::WorkQueue;
        let is_order = |number: &u32| !stock.contains(number);
        let is_left = |number: &u32| keeps || stock.contains(number);
        let narrow = source(desk.config().topics(["orders.>"]));
        let wide = desk.source();
        let mut reader = open(&narrow, None, 1, 1).await;
        let mut position = None;
        for (source, epoch, published, expected) in [
            (&wide, 2, 0..10, ids(0..10, is_order)),
            // Back, as while a deployment is under way, and forth again.
            (&narrow, 3, 0..0, ids(0..10, is_left)),
            (
                &wide,
                4,
                10..20,
                ids(if keeps { 0..20 } else { 10..20 }, is_order),
            ),
            (
                &wide,
                5,
                0..0,
                ids(if keeps { 0..20 } else { 10..20 }, is_left),
            ),
            // The same topics go on where they were.
            (&wide, 6, 20..22, ids(20..22, |_| true)),
        ] {
            desk.publish_all(&mixed(published, &stock)).await;
            let mut read = Read::default();
            read.until(reader.as_mut(), expected.len()).await;
            dry(reader.as_mut()).await;
            assert_eq!((&read.ids, read.lost), (&expected, 0), "before {epoch}");
            reader.close().await;
            position = read.position.or(position);
            reader = open(source, position.clone(), epoch, 1).await;
        }
        dry(reader.as_mut()).await;
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_an_older_version_counts_for_the_topics_that_are_read() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..5).await;
        let mut read = Read::default();
        // Read, and never acked: the stream keeps them.
        while read.ids.len() < 5 {
            read.take(&reader.next(ROOM).await.expect("a batch"));
        }
        drop(reader);
        // It has three parts.
        let older = moved(read.position.as_ref(), 5, 0);
        let mut reader = open(&source, Some(older), 2, 1).await;
        dry(reader.as_mut()).await;
        desk.publish(5..7).await;
        read.until(reader.as_mut(), 7).await;
        read.is(0..7);
        reader.close().await;
        let other = crate::desk::source(desk.config().topics(["*.*"]));
        let mut reader = open(&other, read.position.clone(), 3, 1).await;
        desk.publish(7..8).await;
        let mut again = Read::default();
        let left = if retention == RetentionPolicy::Limits {
            8
        } else {
            1
        };
        again.until(reader.as_mut(), left).await;
        dry(reader.as_mut()).await;
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_is_read_from_its_beginning() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..10).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 10).await;
        let config = desk.place.info().await.config;
        let name = &desk.place.name;
        desk.place
            .context
            .delete_stream(name)
            .await
            .expect("a deletion");
        desk.place.make(config).await;
        if retention != RetentionPolicy::Interest {
            desk.publish(10..15).await;
        }
        // The reader notices sooner or later, and is opened again.
        reader.close().await;
        let old = read.position.clone();
        let mut reader = open(&source, old.clone(), 1, 2).await;
        if retention == RetentionPolicy::Interest {
            desk.publish(10..15).await;
        }
        read.until(reader.as_mut(), 15).await;
        read.is(0..15);
        assert_eq!(read.lost, 0);
        assert_ne!(read.position, old);
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_end_is_read_from_its_beginning() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    desk.publish(0..5).await;
    let source = desk.source();
    let mut reader = open(&source, None, 1, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 5).await;
    reader.close().await;
    // As after a restart from which the entries 6 to 100 did not come back.
    let beyond = moved(read.position.as_ref(), 100, 0);
    let mut reader = open(&source, Some(beyond), 1, 2).await;
    let mut again = Read::default();
    again.until(reader.as_mut(), 5).await;
    again.is(0..5);
    reader.close().await;
}

/// A position at another entry, whose time is so much earlier than the last one's.
fn moved(position: Option<&Position>, sequence: u64, earlier: u64) -> Position {
    let text = position.expect("a position").as_str();
    let parts: Vec<&str> = text.split('/').collect();
    let taken: u64 = parts[2].parse().expect("a time");
    Position::new(format!("{}/{sequence}/{}", parts[0], taken - earlier)).expect("a position")
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_were_given_again_are_read_again() {
    let server = server::shared().await;
    let minute = 60 * 1_000_000_000;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..5).await;
        let mut read = Read::default();
        // Read, and never acked: the stream keeps them.
        while read.ids.len() < 5 {
            read.take(&reader.next(ROOM).await.expect("a batch"));
        }
        drop(reader);
        // As after a crash that lost entries 1 to 3, all read by then: 1 to 5 are other ones.
        let before = moved(read.position.as_ref(), 3, minute);
        let mut reader = open(&source, Some(before), 2, 1).await;
        let mut again = Read::default();
        again.until(reader.as_mut(), 5).await;
        again.is(0..5);
        assert_eq!((again.lost, &again.position), (0, &read.position));
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_broker_is_refused() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let source = desk.source();
    let expected = SourceName::new(&desk.place.name).expect("a name");
    assert_eq!(source.name(), &expected);
    let position = Position::new("17").expect("a position");
    let opened = source.open(&crate::desk::start(Some(position), 1, 1)).await;
    let error = opened.expect_err("no position of JetStream");
    assert_eq!(error.kind(), iobox_core::ErrorKind::Corrupt);
}
