//! Entries that async-nats ends the connection for: left out, while their neighbours go through.

use iobox_core::source::Source as _;

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, open, publish_raw, start},
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
            if retention != async_nats::jetstream::stream::RetentionPolicy::Limits {
                desk.holds(0).await;
            }
            reader.close().await;
        }
    }
}
