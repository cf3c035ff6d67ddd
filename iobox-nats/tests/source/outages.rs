//! Outages: the server killed, stopped and cut off under a reader, with nothing lost or handled twice.

use std::time::Duration;

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::ErrorKind;
use iobox_testkit::servers::{Cable, Nats};
use tokio::time::timeout;

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, dry, open, source},
    inbox::{Books, stop},
    support::{PATIENCE, server, until},
};

/// Takes a server away while an inbox reads, several times.
async fn survive(retention: RetentionPolicy, mut take_away: impl FnMut(&mut Nats)) {
    let mut server = server::private(Nats::builder()).await;
    let desk = Desk::of(server.url(), retention).await;
    let books = Books::new();
    let config = || desk.config().silence(Duration::from_secs(1));
    let mut running = books.read(config());
    until("somebody reads", async || {
        !desk.consumers().await.is_empty()
    })
    .await;
    let mut published = 0;
    for round in 0..3 {
        desk.publish(published..published + 3_000).await;
        published += 3_000;
        // In the middle of its work.
        books.wait_for(published as usize - 2_500).await;
        take_away(&mut server);
        if round == 1 {
            // The next instance begins while nobody can be reached.
            stop(running).await;
            running = books.read(config());
        }
        server.start().expect("a start");
        // The desk's own clients come back by themselves.
        until("the server is back", async || {
            timeout(PATIENCE, desk.place.context.get_stream(&desk.place.name))
                .await
                .is_ok_and(|found| found.is_ok())
        })
        .await;
    }
    books.wait_for(published as usize).await;
    books.check(published);
    let last = desk.place.info().await.state.last_sequence;
    println!("{retention:?}: the number of the last of {published} is {last}");
    desk.is_done(&server).await;
    until("one consumer is left", async || {
        desk.consumers().await.len() == 1
    })
    .await;
    stop(running).await;
    let left = usize::from(retention != RetentionPolicy::Limits);
    assert_eq!(desk.consumers().await.len(), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started() {
    for retention in RETENTIONS {
        println!("{retention:?}");
        survive(retention, |server| server.kill().expect("a kill")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_and_started() {
    for retention in RETENTIONS {
        println!("{retention:?}");
        survive(retention, |server| server.stop().expect("a stop")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_again_and_again() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let cable = Cable::to(server::address(&server)).await.expect("a cable");
        let books = Books::new();
        let running = books.read(desk.config_at(&format!("nats://{}", cable.address())));
        until("somebody reads", async || {
            !desk.consumers().await.is_empty()
        })
        .await;
        for round in 0..5 {
            desk.publish(round * 2_000..(round + 1) * 2_000).await;
            books.wait_for(round as usize * 2_000 + 500).await;
            cable.cut().await;
            cable.mend();
        }
        books.wait_for(10_000).await;
        books.check(10_000);
        desk.is_done(&server).await;
        until("one consumer is left", async || {
            desk.consumers().await.len() == 1
        })
        .await;
        stop(running).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_between_a_commit_and_its_ack() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let cable = Cable::to(server::address(&server)).await.expect("a cable");
        let source = source(desk.config_at(&format!("nats://{}", cable.address())));
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..50).await;
        let mut room = ROOM;
        room.messages = 20;
        let mut read = Read::default();
        read.take(&reader.next(room).await.expect("a batch"));
        cable.cut().await;
        let error = reader.ack().await.expect_err("nobody hears it");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        cable.mend();
        reader.close().await;
        let mut reader = open(&source, read.position.clone(), 1, 2).await;
        read.until(reader.as_mut(), 50).await;
        read.is(0..50);
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_in_the_middle_of_a_batch_brings_what_had_come() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let cable = Cable::to(server::address(&server)).await.expect("a cable");
    let source = source(desk.config_at(&format!("nats://{}", cable.address())));
    let mut reader = open(&source, None, 1, 1).await;
    desk.publish(0..500).await;
    let mut room = ROOM;
    room.messages = 100;
    let mut read = Read::default();
    // The next batch is on its way while this one is stored.
    read.once(reader.as_mut(), room).await.expect("a batch");
    cable.cut().await;
    let mut failed = false;
    for _ in 0..10 {
        match reader.next(room).await {
            Ok(batch) => read.take(&batch),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                failed = true;
                break;
            }
        }
    }
    assert!(failed, "a reader ends with its connection");
    let count = u32::try_from(read.ids.len()).expect("a count");
    read.is(0..count);
    cable.mend();
    let mut reader = open(&source, read.position.clone(), 1, 2).await;
    read.until(reader.as_mut(), 500).await;
    read.is(0..500);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_noticed() {
    let server = server::shared().await;
    for unordered in [false, true] {
        let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
        let cable = Cable::to(server::address(&server)).await.expect("a cable");
        let config = desk
            .config_at(&format!("nats://{}", cable.address()))
            .silence(Duration::from_secs(1))
            .ack_timeout(Duration::from_millis(300));
        let config = if unordered {
            config.unordered()
        } else {
            config
        };
        let source = source(config);
        let mut reader = open(&source, None, i64::from(!unordered), 1).await;
        desk.publish(0..10).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 10).await;
        dry(reader.as_mut()).await;
        cable.mute();
        let noticed = timeout(PATIENCE, async {
            loop {
                if let Err(error) = reader.next(ROOM).await {
                    return error;
                }
            }
        });
        let error = noticed.await.expect("it must notice");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        cable.mend();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_is_no_silent_server() {
    let server = server::shared().await;
    for unordered in [false, true] {
        let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
        let config = desk.config().silence(Duration::from_secs(1));
        let config = if unordered {
            config.unordered()
        } else {
            config
        };
        let mut reader = open(&source(config), None, i64::from(!unordered), 1).await;
        // Longer than it may be silent, and with pauses of the reader that are longer too.
        for pause in [0, 0, 0, 0, 0, 0, 0, 0, 1_500, 0, 2_500, 0] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            dry(reader.as_mut()).await;
        }
        desk.publish(0..10).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 10).await;
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interest_stream_keeps_what_comes_while_nobody_reads() {
    let mut server = server::private(Nats::builder()).await;
    let desk = Desk::of(server.url(), RetentionPolicy::Interest).await;
    let source = desk.source();
    let mut reader = open(&source, None, 1, 1).await;
    desk.publish(0..5).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 5).await;
    reader.close().await;
    desk.publish(5..10).await;
    desk.holds(5).await;
    server.kill().expect("a kill");
    server.start().expect("a start");
    until("the server is back", async || {
        desk.place
            .context
            .get_stream(&desk.place.name)
            .await
            .is_ok()
    })
    .await;
    desk.holds(5).await;
    // A crash, instead of a close.
    let reader = open(&source, read.position.clone(), 2, 1).await;
    drop(reader);
    desk.holds(5).await;
    let mut reader = open(&source, read.position.clone(), 3, 1).await;
    read.until(reader.as_mut(), 10).await;
    read.is(0..10);
    assert_eq!(read.lost, 0);
    desk.holds(0).await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_a_kill_is_read_whatever_numbers_it_gets() {
    for retention in RETENTIONS {
        let mut server = server::private(Nats::builder()).await;
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..10).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 10).await;
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        server.kill().expect("a kill");
        server.start().expect("a start");
        until("the server is back", async || {
            desk.place
                .context
                .get_stream(&desk.place.name)
                .await
                .is_ok()
        })
        .await;
        let last = desk.place.info().await.state.last_sequence;
        println!("{retention:?}: after the kill the last number is {last}");
        desk.publish(10..25).await;
        let mut reader = open(&source, read.position.clone(), 2, 1).await;
        read.until(reader.as_mut(), 25).await;
        read.is(0..25);
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_ends_an_ordered_reader() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        desk.publish(0..3).await;
        let mut room = ROOM;
        room.messages = 1;
        let first = reader.next(room).await.expect("a batch");
        assert_eq!(first.deliveries.len(), 1);
        // Somebody else who refuses the entry: the server delivers it again.
        let consumer = format!("billing~{}~1~1", desk.place.name);
        let stream = &desk.place.name;
        let info = desk
            .place
            .context
            .get_stream(stream)
            .await
            .expect("a stream");
        let info = info.consumer_info(&consumer).await.expect("a consumer");
        assert_eq!(info.num_ack_pending, 2);
        let nak = format!("$JS.ACK.{stream}.{consumer}.1.1.1.0.0");
        let client = async_nats::connect(server.url())
            .await
            .expect("a connection");
        client.publish(nak, "-NAK".into()).await.expect("a publish");
        client.flush().await.expect("a flush");
        let ended = timeout(PATIENCE, async {
            let mut read = Read::default();
            loop {
                match reader.next(room).await {
                    Ok(batch) => read.take(&batch),
                    Err(error) => return (error, read),
                }
            }
        });
        let (error, read) = ended.await.expect("it must end");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!read.ids.contains(&String::from("0")), "{read:?}");
        let mut reader = open(&source, first.position.clone(), 1, 2).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 2).await;
        read.is(1..3);
        reader.close().await;
    }
}
