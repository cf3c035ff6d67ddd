//! Streams made anew: what would hide behind the place of the old one is read.

use std::time::Duration;

use iobox_core::source::{Reader, Room};
use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open, room},
};

use super::{TOPIC, add, payloads, source};
use crate::support::{Log, PATIENCE, Place, server, until};

/// The ids of messages, without what stands before that of the entry.
fn ids(read: &Read) -> Vec<String> {
    let ids = read.deliveries.iter().map(|one| one.message().id());
    ids.filter_map(|id| id.as_str().split_once('/').map(|(_, id)| id.to_owned()))
        .collect()
}

/// Makes the stream anew, with entries of these ids.
async fn remake(place: &Place, ids: &[&str]) {
    place.ask(&format!("DEL {}{TOPIC}", place.prefix)).await;
    add(place, ids).await;
}

/// Reads a batch, for which the reader waits while something else goes on.
async fn wait_while(read: &mut Read, reader: &mut dyn Reader, work: impl Future<Output = ()>) {
    let patient = Room {
        wait: Duration::from_secs(60),
        ..room(10)
    };
    let (stepped, ()) = tokio::join!(read.step(reader, patient), work);
    stepped.expect("a batch");
}

#[tokio::test]
async fn lower_ids_are_read_and_are_other_messages_although_a_clock_went_back() {
    let log = Log::default();
    let _guard = log.listen();
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    add(
        &place,
        &["1700000000000-0", "1700000000001-0", "1700000000002-0"],
    )
    .await;
    let mut read = Read::default();
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 3).await;
    reader.close().await;
    // As long as the old one, its ids lower but for one that it had too.
    place.ask("FLUSHALL").await;
    add(&place, &["1699999999999-0", "1700000000000-0"]).await;
    let mut reader = open(&source, read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 5).await;
    assert_eq!(ids(&read)[3..], ["1699999999999-0/1", "1700000000000-0/1"]);
    reader.close().await;
    // The round is in the position: the next reader goes on in it.
    add(&place, &["1700000000003-0"]).await;
    let mut reader = open(&source, read.position.as_ref(), 3).await;
    read.until(reader.as_mut(), 6).await;
    assert_eq!(ids(&read)[5..], ["1700000000003-0/1"]);
    reader.close().await;
    let text = log.text();
    let told = text.lines().filter(|line| line.contains("ERROR"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("made anew"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_notices_that_its_stream_was_made_anew() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    add(&place, &["9-1", "9-2"]).await;
    let mut read = Read::default();
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 2).await;
    wait_while(&mut read, reader.as_mut(), remake(&place, &["1-1", "1-2"])).await;
    read.until(reader.as_mut(), 4).await;
    assert_eq!(payloads(&read), ["9-1", "9-2", "1-1", "1-2"]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wakes_a_reader_whose_stream_was_made_anew_is_read_once() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    add(&place, &["1700000000000-0", "1700000000001-0"]).await;
    let mut read = Read::default();
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 2).await;
    let remaking = async {
        until("the reader waits", async || {
            let told = place.ask("INFO clients").await;
            let told: String = redis::from_redis_value(told).expect("a text");
            told.contains("blocked_clients:1")
        })
        .await;
        remake(&place, &["1700000000009-0"]).await;
    };
    wait_while(&mut read, reader.as_mut(), remaking).await;
    read.until(reader.as_mut(), 3).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(ids(&read)[2..], ["1700000000009-0/1"]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_between_two_looks_is_read_once() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    // Entries of this size are not looked at again for two seconds.
    let large = "x".repeat(1_000_000);
    for id in ["1700000000000-0", "1700000000001-0"] {
        let stream = format!("{}{TOPIC}", place.prefix);
        place.ask(&format!("XADD {stream} {id} data {large}")).await;
    }
    let mut read = Read::default();
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 2).await;
    remake(&place, &["1700000000009-0"]).await;
    read.until(reader.as_mut(), 3).await;
    assert_eq!(ids(&read)[2..], ["1700000000009-0/1"]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_entries_under_higher_ids_are_another_stream() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let source = source(&place);
    add(&place, &["5-1", "5-2", "5-3"]).await;
    let mut read = Read::default();
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 3).await;
    reader.close().await;
    place.ask("FLUSHALL").await;
    add(&place, &["1-1", "9-1"]).await;
    let mut reader = open(&source, read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 5).await;
    assert_eq!(payloads(&read)[3..], ["1-1", "9-1"]);
    reader.close().await;
}

/// What was read of a stream of four, which then forgot its last two, as a fail-over may do.
async fn forgotten(place: &Place) -> Read {
    let stream = format!("{}{TOPIC}", place.prefix);
    add(place, &["1700000000000-0", "1700000000001-0"]).await;
    let redis::Value::BulkString(earlier) = place.ask(&format!("DUMP {stream}")).await else {
        panic!("no dump");
    };
    add(place, &["1700000000005-0", "1700000000009-0"]).await;
    let mut read = Read::default();
    let mut reader = open(&source(place), None, 1).await;
    read.until(reader.as_mut(), 4).await;
    reader.close().await;
    let mut restore = redis::cmd("RESTORE");
    restore.arg(&stream).arg(0).arg(earlier).arg("REPLACE");
    let client = redis::Client::open(place.url.as_str()).expect("a client");
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let connected = client.get_multiplexed_async_connection_with_config(&patient);
    let mut client = connected.await.expect("a connection");
    let restored: redis::RedisResult<()> = restore.query_async(&mut client).await;
    restored.expect("an earlier state");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_what_was_read_is_read_on_behind_what_it_has() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let mut read = forgotten(&place).await;
    let mut reader = open(&source(&place), read.position.as_ref(), 2).await;
    read.nothing_more(reader.as_mut()).await;
    // Below what was read, and above what is left of it.
    add(&place, &["1700000000007-0"]).await;
    read.until(reader.as_mut(), 5).await;
    assert_eq!(ids(&read)[4..], ["1700000000007-0"]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_and_went_on_is_read_again_and_ids_stay() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let mut read = forgotten(&place).await;
    add(&place, &["1700000000010-0"]).await;
    let mut reader = open(&source(&place), read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 7).await;
    let again = ["1700000000000-0", "1700000000001-0", "1700000000010-0"];
    assert_eq!(ids(&read)[4..], again);
    reader.close().await;
}
