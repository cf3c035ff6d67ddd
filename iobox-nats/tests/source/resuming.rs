//! Resuming: a new reader goes on where the store is, whatever its predecessor left.

use std::time::Duration;

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::{
    ErrorKind,
    source::{Room, Source as _},
};
use iobox_testkit::poll_n_then_drop;

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, dry, open, source, start},
    support::server,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_retention_is_read_in_order_and_acked() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        // An interest stream keeps nothing before somebody is interested.
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..2_500).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 2_500).await;
        read.is(0..2_500);
        assert_eq!(read.lost, 0);
        dry(reader.as_mut()).await;
        match retention {
            RetentionPolicy::Limits => desk.holds(2_500).await,
            _ => desk.holds(0).await,
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_reader_starts_behind_what_is_stored() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut first = open(&source, None, 1, 1).await;
        desk.publish(0..100).await;
        let small = Room {
            messages: 30,
            ..ROOM
        };
        let mut read = Read::default();
        read.once(first.as_mut(), small).await.expect("a batch");
        // Stored, and not acked: the next reader must not bring it again.
        read.take(&first.next(small).await.expect("a batch"));
        // Neither stored nor acked: the next reader must bring it.
        let unstored = first.next(small).await.expect("a batch");
        assert!(!unstored.deliveries.is_empty());
        drop(first);
        let mut second = open(&source, read.position.clone(), 2, 1).await;
        read.until(second.as_mut(), 100).await;
        read.is(0..100);
        assert_eq!(read.lost, 0);
        desk.publish(100..120).await;
        read.until(second.as_mut(), 120).await;
        read.is(0..120);
        dry(second.as_mut()).await;
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        let consumers = desk.consumers().await;
        assert_eq!(consumers, [format!("billing~{}~2~1", desk.place.name)]);
        second.close().await;
        let left = desk.consumers().await;
        assert_eq!(left.is_empty(), retention == RetentionPolicy::Limits);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_reader_takes_nothing_from_its_successor() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        // Not every server tells a reader that its consumer was deleted.
        let source = source(desk.config().silence(Duration::from_secs(1)));
        let mut stale = open(&source, None, 1, 1).await;
        desk.publish(0..50).await;
        let room = Room {
            messages: 10,
            ..ROOM
        };
        let mut read = Read::default();
        read.once(stale.as_mut(), room).await.expect("a batch");
        let held = stale.next(room).await.expect("a batch");
        assert!(!held.deliveries.is_empty());
        let mut next = open(&source, read.position.clone(), 2, 1).await;
        // What it holds it cannot ack, and more it does not get, but for what was on its way.
        assert_eq!(
            stale.ack().await.expect_err("a late ack").kind(),
            ErrorKind::Unavailable
        );
        let mut failed = false;
        for _ in 0..50 {
            if let Err(error) = stale.next(room).await {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                failed = true;
                break;
            }
        }
        assert!(failed, "a stale reader must end");
        // It may try again under its epoch.
        let again = source.open(&start(read.position.clone(), 1, 2)).await;
        match again {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            Ok(reader) => {
                assert_eq!(retention, RetentionPolicy::Limits);
                reader.close().await;
            }
        }
        read.until(next.as_mut(), 50).await;
        read.is(0..50);
        desk.publish(50..60).await;
        read.until(next.as_mut(), 60).await;
        read.is(0..60);
        next.close().await;
    }
}

/// How many entries lie between two openings.
const STEP: u32 = 3;
/// At how many polls an opening is dropped, each once in a round.
const POLLS: u32 = 50;
/// How many rounds there are at most until what must be met was met.
const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_dropped_anywhere_loses_nothing() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut first = open(&source, None, 1, 1).await;
        desk.publish(0..STEP).await;
        let mut read = Read::default();
        read.until(first.as_mut(), few(STEP)).await;
        drop(first);
        let must_be_met = retention == RetentionPolicy::WorkQueue;
        let (mut published, mut opened, mut alone) = (STEP, 0, 0);
        for opening in 0..ROUNDS * POLLS {
            let polls = few(opening % POLLS);
            // At which poll it stands there is a matter of what the server was quick to answer.
            if polls == 0 && opening > 0 && (alone >= 1 || !must_be_met) {
                break;
            }
            let start = start(read.position.clone(), 2, opening + 1);
            if let Some(reader) = poll_n_then_drop(source.open(&start), polls).await {
                drop(reader.expect("a reader"));
                opened += 1;
            }
            let nobody = desk.consumers().await.is_empty();
            // What nobody is interested in is dropped by a stream with interest. The others keep it.
            assert!(
                !nobody || retention != RetentionPolicy::Interest,
                "{opening}"
            );
            alone += u32::from(nobody);
            desk.publish(published..published + STEP).await;
            published += STEP;
        }
        assert!(opened >= 1, "an opening takes fewer polls than that");
        assert!(alone >= 1 || !must_be_met, "it deletes before it makes");
        let mut last = open(&source, read.position.clone(), 3, 1).await;
        read.until(last.as_mut(), few(published)).await;
        read.is(0..published);
        assert_eq!(read.lost, 0);
        last.close().await;
    }
}

fn few(count: u32) -> usize {
    usize::try_from(count).expect("few")
}
