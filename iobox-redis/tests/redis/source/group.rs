//! The group: it follows what is committed, and nothing is read through it.

use iobox_core::source::{Room, Source as _};
use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open, room, start},
};
use redis::Value;

use super::{TOPIC, add, source};
use crate::support::{Place, server};

/// What `XINFO GROUPS` tells of the one group of the stream: its place, and its lag if the server
/// tells that.
async fn group(place: &Place) -> Option<(String, Option<i64>)> {
    let told = place
        .ask(&format!("XINFO GROUPS {}{TOPIC}", place.prefix))
        .await;
    let groups: Vec<std::collections::HashMap<String, Value>> =
        redis::from_redis_value(told).expect("groups");
    assert!(groups.len() <= 1, "{groups:?}");
    let group = groups.first()?;
    let Value::BulkString(name) = &group["name"] else {
        panic!("a name: {group:?}");
    };
    assert_eq!(name, b"tests");
    assert_eq!(
        group["pending"],
        Value::Int(0),
        "nothing is read through it"
    );
    let at = redis::from_redis_value(group["last-delivered-id"].clone()).expect("an id");
    let lag = group.get("lag").and_then(|lag| match lag {
        Value::Int(lag) => Some(*lag),
        _ => None,
    });
    Some((at, lag))
}

#[tokio::test(flavor = "multi_thread")]
async fn its_lag_is_what_is_not_acked_also_when_entries_were_removed() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    add(&place, &["1-1", "1-2", "1-3"]).await;
    let mut reader = open(&source(&place), None, 1).await;
    assert_eq!(group(&place).await, Some(("0-0".to_owned(), Some(3))));
    let batch = reader.next(room(2)).await.expect("a batch");
    assert_eq!(batch.deliveries.len(), 2);
    // Read and not acked: whoever trims by the group keeps it.
    assert_eq!(group(&place).await, Some(("0-0".to_owned(), Some(3))));
    reader.ack().await.expect("an ack");
    assert_eq!(group(&place).await, Some(("1-2".to_owned(), Some(1))));
    let mut read = Read::default();
    read.until(reader.as_mut(), 1).await;
    assert_eq!(group(&place).await, Some(("1-3".to_owned(), Some(0))));
    let stream = format!("{}{TOPIC}", place.prefix);
    add(&place, &["2-1", "2-2", "2-3"]).await;
    place.ask(&format!("XDEL {stream} 1-2 2-2")).await;
    place.ask(&format!("XTRIM {stream} MINID 2-1")).await;
    read.until(reader.as_mut(), 3).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(group(&place).await, Some(("2-3".to_owned(), Some(0))));
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_pass_entries_that_were_read_and_had_no_room_in_the_batch() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    let large = "l".repeat(20_000);
    for number in 1..=8 {
        let id = format!("1-{number}");
        let command = ["XADD", &stream, &id, "data", &large];
        place.reader.ask(&command).await.expect("an entry");
    }
    let mut reader = open(&source(&place), None, 1).await;
    let room = Room {
        bytes: 64 * 1024,
        ..room(100)
    };
    for (at, lag) in [("1-3", 5), ("1-6", 2), ("1-8", 0)] {
        reader.next(room).await.expect("a batch");
        reader.ack().await.expect("an ack");
        assert_eq!(group(&place).await, Some((at.to_owned(), Some(lag))));
    }
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_elsewhere_is_moved_and_never_decides_what_is_read() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    add(&place, &["1-1", "1-2", "1-3", "1-4"]).await;
    // In front of everything that was read, and behind it.
    for (at, epoch) in [("$", 1), ("0", 2)] {
        let _ = place.ask(&format!("XGROUP DESTROY {stream} tests")).await;
        place
            .ask(&format!("XGROUP CREATE {stream} tests {at}"))
            .await;
        let mut reader = open(&source(&place), None, epoch).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 4).await;
        assert_eq!(group(&place).await, Some(("1-4".to_owned(), Some(0))));
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_not_made() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    source.probe().await.expect("a probe");
    let mut reader = source.open(&start(None, 1)).await.expect("a reader");
    let mut read = Read::default();
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(place.ask("DBSIZE").await, Value::Int(0));
    add(&place, &["1-1"]).await;
    read.until(reader.as_mut(), 1).await;
    assert_eq!(group(&place).await, Some(("1-1".to_owned(), Some(0))));
    // Whoever removes the group harms nobody.
    let stream = format!("{}{TOPIC}", place.prefix);
    place.ask(&format!("XGROUP DESTROY {stream} tests")).await;
    add(&place, &["1-2"]).await;
    read.until(reader.as_mut(), 2).await;
    assert_eq!(group(&place).await, Some(("1-2".to_owned(), Some(0))));
    reader.close().await;
}
