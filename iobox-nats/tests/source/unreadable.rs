//! Entries that async-nats ends the connection for: left out, while their neighbours go through.

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::source::Source as _;

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, open, publish_raw, source, start},
    support::{PATIENCE, server},
};

/// Headers that any client may write.
const GOOD: &[u8] = b"NATS/1.0\r\na: b\r\n\r\n";

/// Topics and headers that no client of ours would write, and that a server stores all the same.
const BAD: [(&str, &[u8]); 8] = [
    // In Latin-1.
    ("orders", b"NATS/1.0\r\nname: M\xFCller\r\n\r\n"),
    ("orders", b"NATS/1.0\r\nno colon\r\n\r\n"),
    // The task of the connection panics at it.
    ("orders", b"NATS/1.0\r\na: b\rc\r\n\r\n"),
    ("orders", b"NATS/1.0\r\na:\r\n \rb\r\n\r\n"),
    ("orders", b"NATS/1.0 404\tx\r\n\r\n"),
    // The driver takes these for more than one word.
    ("or\u{A0}ders", GOOD),
    ("or\u{3000}ders", GOOD),
    ("or\u{B}ders", GOOD),
];

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_read_stop_nothing() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        for (topic, bad) in BAD {
            println!("{retention:?} {topic:?} {bad:?}");
            let desk = Desk::of(server.url(), retention).await;
            let source = desk.source();
            let mut reader = open(&source, None, 1, 1).await;
            let subject = format!("{}.{topic}", desk.place.name);
            desk.publish(0..20).await;
            publish_raw(server::address(&server), &subject, Some(bad), b"x").await;
            desk.publish(20..30).await;
            let mut read = Read::default();
            let mut opening = 1;
            let reading = async {
                while read.ids.len() < 30 {
                    // What an inbox does: each batch is stored, then acked, and after an error the
                    // source is opened again.
                    if read.once(reader.as_mut(), ROOM).await.is_err() {
                        opening += 1;
                        assert!(opening < 10, "it is opened again and again");
                        let start = start(read.position.clone(), 1, opening);
                        reader = source.open(&start).await.expect("a reader");
                    }
                }
            };
            let read_all = tokio::time::timeout(PATIENCE, reading).await;
            assert!(read_all.is_ok(), "{read:?}");
            read.is(0..30);
            assert!(opening > 1, "it was read after all");
            assert_eq!(read.refused, ["21"]);
            assert_eq!(read.lost, 0);
            if retention != RetentionPolicy::Limits {
                desk.holds(0).await;
            }
            reader.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_topic_that_is_new_is_told_before_it_is_removed() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::WorkQueue).await;
    let narrow = source(desk.config().topics(["orders.>"]));
    let mut reader = open(&narrow, None, 1, 1).await;
    desk.publish(0..2).await;
    let subject = format!("{}.stock.moved", desk.place.name);
    publish_raw(server::address(&server), &subject, Some(BAD[0].1), b"x").await;
    desk.publish(2..4).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 4).await;
    reader.close().await;
    desk.holds(1).await;
    let wide = desk.source();
    let mut reader = open(&wide, read.position.clone(), 2, 2).await;
    read.once(reader.as_mut(), ROOM).await.expect("a batch");
    assert_eq!(
        (&read.refused[..], read.lost),
        (&[String::from("3")][..], 0)
    );
    desk.holds(0).await;
    reader.close().await;
    // Behind it, with numbers in front that another filter read.
    let mut reader = open(&wide, read.position.clone(), 2, 3).await;
    desk.publish(4..6).await;
    read.until(reader.as_mut(), 6).await;
    read.is(0..6);
    assert_eq!(read.lost, 0);
    reader.close().await;
}
