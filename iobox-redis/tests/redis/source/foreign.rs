//! Foreign producers: the command line client of the server writes, and what is no message is passed
//! by.

use anyhow::{Context as _, Result};
use iobox_core::message::Origin;
use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open},
};

use super::{TOPIC, builder, source};
use crate::support::{Place, message, publish, redis_cli, redis_cli_with};

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_redis_cli_are_read_bytes_and_all() -> Result<()> {
    let server = tokio::task::spawn_blocking(Redis::shared).await??;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    let every_byte: Vec<u8> = (0..=255).collect();
    let add = |fields: &[&str]| redis_cli(&server, &[&["XADD", &stream, "*"], fields].concat());
    let mut ids = vec![
        add(&["payload", "plain"])?,
        redis_cli_with(&server, &["-x", "XADD", &stream, "*", "data"], &every_byte)?,
        add(&["event", "paid", "note", "two\nlines \"ü\""])?,
    ];
    assert_eq!(
        publish(&place.publisher(), &[message(TOPIC, "ours")]).await,
        [""]
    );
    ids.push(add(&[
        "id", "order-1", "topic", "x", "payload", "not ours",
    ])?);
    let mut reader = open(&source(&place), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 5).await;
    reader.close().await;
    let messages: Vec<_> = read.deliveries.iter().map(|one| one.message()).collect();
    let json = "{\"event\":\"paid\",\"note\":\"two\\nlines \\\"ü\\\"\"}";
    let expected: [&[u8]; 5] = [b"plain", &every_byte, json.as_bytes(), b"ours", b"not ours"];
    for (message, payload) in messages.iter().zip(expected) {
        assert_eq!(message.payload(), payload);
        assert_eq!(message.topic().as_str(), TOPIC);
        assert_eq!(message.origin() == Origin::FOREIGN, payload != b"ours");
    }
    let foreign = [messages[0], messages[1], messages[2], messages[4]];
    for (message, id) in foreign.iter().zip(&ids) {
        assert_eq!(message.id().as_str(), format!("{stream}/{}", id.trim_end()));
    }
    for delivery in &read.deliveries {
        let at = delivery.event_time().context("a time")?;
        let age = delivery.age().context("an age")?;
        let since = std::time::SystemTime::now().duration_since(at)?;
        assert!(age <= since + std::time::Duration::from_secs(5), "{age:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_own_ids_and_keys_are_used_when_asked_for() -> Result<()> {
    let server = tokio::task::spawn_blocking(Redis::shared).await??;
    let place = Place::on(&server).await;
    let key = format!("{}events", place.prefix);
    let add = |fields: &[&str]| redis_cli(&server, &[&["XADD", &key, "*"], fields].concat());
    add(&["event", "e-1", "account", "7", "data", "d"])?;
    add(&["event", "e-2", "data", "d"])?;
    add(&["data", "d"])?;
    let source = builder(&place).stream(&key, "billing.paid");
    let source = source.foreign_id("event").foreign_key("account").build()?;
    let mut reader = open(&source, None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    reader.close().await;
    assert_eq!(
        (read.ids(), read.refused.len()),
        (vec!["e-1".to_owned(), "e-2".to_owned()], 1)
    );
    let keys = read.deliveries.iter().map(|one| one.message().key());
    let keys: Vec<_> = keys.map(|key| key.map(ToString::to_string)).collect();
    assert_eq!(keys, [Some("7".to_owned()), None]);
    let topic = read.deliveries[0].message().topic();
    assert_eq!(topic.as_str(), "billing.paid");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_passed_by_and_its_neighbours_are_read() -> Result<()> {
    let server = tokio::task::spawn_blocking(Redis::shared).await??;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    let wire_id = "00000000-0000-0000-0000-000000000001/x";
    let ours = ["id", wire_id, "topic", TOPIC, "payload", "p", "headers"];
    for unordered in [false, true] {
        let mut places = Vec::new();
        publish(&place.publisher(), &[message(TOPIC, "first")]).await;
        let bytes = ["-x", "XADD", &stream, "*", "name"];
        places.push(redis_cli_with(&server, &bytes, b"\xff\x00")?);
        publish(&place.publisher(), &[message(TOPIC, "second")]).await;
        let broken = [&["XADD", &stream, "*"][..], &ours, &["[[1]]"]].concat();
        places.push(redis_cli(&server, &broken)?);
        publish(&place.publisher(), &[message(TOPIC, "third")]).await;
        let builder = builder(&place).topic(TOPIC);
        let builder = if unordered {
            builder.unordered()
        } else {
            builder
        };
        let source = builder.build()?;
        let mut reader = open(&source, None, 1).await;
        let mut read = Read::default();
        read.until(reader.as_mut(), 5).await;
        reader.close().await;
        assert_eq!(read.ids(), ["first", "second", "third"]);
        let expected: Vec<String> = places
            .iter()
            .map(|id| format!("{stream} {}", id.trim_end()))
            .collect();
        assert_eq!(read.refused, expected);
        let mut reader = open(&source, read.position.as_ref(), 2).await;
        read.nothing_more(reader.as_mut()).await;
        assert_eq!(read.refused.len(), 2, "they do not come again");
        reader.close().await;
        place.ask(&format!("DEL {stream}")).await;
    }
    Ok(())
}
