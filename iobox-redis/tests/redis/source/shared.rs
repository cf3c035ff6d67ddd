//! Sharing: instances that read a stream together, and what a dead one leaves.

use std::time::Duration;

use iobox_redis::RedisSource;
use iobox_testkit::{
    servers::{Cable, Redis},
    source::support::{Read, open, room},
};
use redis::Value;

use super::{TOPIC, add, builder, payloads};
use crate::support::{Place, address, server, until};

fn shared(place: &Place) -> RedisSource {
    let builder = builder(place).topic(TOPIC).unordered();
    let builder = builder.claim_after(Duration::from_secs(1));
    builder.build().expect("a source")
}

async fn consumers(place: &Place) -> usize {
    let asked = format!("XINFO CONSUMERS {}{TOPIC} tests", place.prefix);
    let Value::Array(consumers) = place.ask(&asked).await else {
        panic!("no list of consumers");
    };
    consumers.len()
}

/// How many entries were given to a consumer and not acked.
async fn pending(place: &Place) -> i64 {
    let asked = format!("XPENDING {}{TOPIC} tests", place.prefix);
    let Value::Array(told) = place.ask(&asked).await else {
        panic!("nothing pending is told");
    };
    let Some(Value::Int(count)) = told.first() else {
        panic!("no count: {told:?}");
    };
    *count
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_a_stream_and_leave_no_consumers() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let (one, other) = (shared(&place), shared(&place));
    let (mut one, mut other) = (open(&one, None, 0).await, open(&other, None, 0).await);
    let mut reads = [Read::default(), Read::default()];
    for round in 1..=4 {
        for number in 1..=5 {
            add(&place, &[&format!("{round}-{number}")]).await;
        }
        for (read, reader) in reads.iter_mut().zip([&mut one, &mut other]) {
            read.step(reader.as_mut(), room(3)).await.expect("a batch");
        }
    }
    let [read, rest] = &mut reads;
    read.nothing_more(one.as_mut()).await;
    assert!(!read.deliveries.is_empty() && !rest.deliveries.is_empty());
    let mut all = [payloads(read), payloads(rest)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 20);
    assert_eq!(read.deliveries.len() + rest.deliveries.len(), 20);
    assert_eq!((pending(&place).await, consumers(&place).await), (0, 2));
    one.close().await;
    assert_eq!(consumers(&place).await, 1);
    other.close().await;
    assert_eq!(consumers(&place).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_instance_was_given_is_taken_over_and_its_removed_entries_are_lost() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let cable = Cable::to(address(server.url())).await.expect("a cable");
    let far = Place {
        url: format!("redis://{}", cable.address()),
        prefix: place.prefix.clone(),
        reader: crate::support::Reader::open(server.url())
            .await
            .expect("a reader"),
    };
    add(&place, &["1-1", "1-2", "1-3", "1-4"]).await;
    let killed = shared(&far);
    let mut reader = open(&killed, None, 0).await;
    let batch = reader.next(room(4)).await.expect("a batch");
    assert_eq!(batch.deliveries.len(), 4);
    cable.cut().await;
    drop(reader);
    place
        .ask(&format!("XDEL {}{TOPIC} 1-2", place.prefix))
        .await;
    let mut reader = open(&shared(&place), None, 0).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    let mut taken = payloads(&read);
    taken.sort();
    assert_eq!(taken, ["1-1", "1-3", "1-4"]);
    read.nothing_more(reader.as_mut()).await;
    assert_eq!((read.lost, pending(&place).await), (1, 0));
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_reader_of_an_instance_gets_at_once_what_the_last_one_did_not_ack() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let builder = builder(&place).topic(TOPIC).topic("other").unordered();
    let source = builder.build().expect("a source");
    add(&place, &["1-1", "1-2", "1-3"]).await;
    let mut reader = open(&source, None, 0).await;
    let batch = reader.next(room(2)).await.expect("a batch");
    assert_eq!(batch.deliveries.len(), 2);
    drop(reader);
    place
        .ask(&format!("XDEL {}{TOPIC} 1-1", place.prefix))
        .await;
    // The default is to take over after a minute.
    let mut reader = open(&source, None, 0).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 2).await;
    assert_eq!(payloads(&read), ["1-2", "1-3"]);
    assert_eq!((read.lost, pending(&place).await), (1, 0));
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_closed_while_it_waits_takes_nothing_along() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = shared(&place);
    for round in 0..5 {
        let mut reader = open(&source, None, 0).await;
        {
            let next = reader.next(iobox_core::source::Room {
                wait: Duration::from_secs(60),
                ..room(10)
            });
            let waits = until("the reader waits", async || {
                let Value::BulkString(list) = place.ask("CLIENT LIST").await else {
                    panic!("no list of clients");
                };
                let text = String::from_utf8_lossy(&list);
                text.contains("cmd=xreadgroup") && text.contains("flags=b")
            });
            tokio::select! {
                _ = next => panic!("there is nothing to read"),
                () = waits => {}
            }
        }
        // The server gives these to the reader that nobody waits for any more.
        let ids = [1, 2].map(|number| format!("1-{}", round * 2 + number));
        let ids = ids.each_ref().map(String::as_str);
        let adding = add(&place, &ids);
        let ((), ()) = tokio::join!(reader.close(), adding);
        let mut reader = open(&source, None, 0).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 2).await;
        read.nothing_more(reader.as_mut()).await;
        reader.close().await;
    }
    assert_eq!((pending(&place).await, consumers(&place).await), (0, 0));
}
