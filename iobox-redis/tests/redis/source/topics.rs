//! Topics: several of one source, one that comes later, and one that goes and comes back.

use std::collections::HashMap;

use iobox_redis::RedisSource;
use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open, room},
};
use redis::Value;

use super::builder;
use crate::support::{Place, message, publish, server};

fn of(place: &Place, topics: &[&str]) -> RedisSource {
    let builder = topics
        .iter()
        .fold(builder(place), |builder, topic| builder.topic(*topic));
    builder.build().expect("a source")
}

/// Publishes one message for each topic, with this number in its id.
async fn publish_to(place: &Place, topics: &[&str], number: usize) {
    for topic in topics {
        let one = message(topic, &format!("{topic}/{number}"));
        assert_eq!(publish(&place.publisher(), &[one]).await, [""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_read_from_its_beginning_and_one_that_comes_back_reads_on() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let all = ["a", "b", "c.d"];
    let mut read = Read::default();
    publish_to(&place, &all, 1).await;
    for (epoch, topics, expected) in [
        (1, &all[..2], &["a/1", "b/1"][..]),
        (2, &all[..], &["c.d/1"]),
        (3, &all[..1], &["a/2"]),
        (4, &all[..], &["a/3", "b/2", "b/3", "c.d/2", "c.d/3"]),
    ] {
        let number = usize::try_from(epoch).expect("small") - 1;
        if number > 1 {
            publish_to(&place, &all, number).await;
        }
        let before = read.deliveries.len();
        let mut reader = open(&of(&place, topics), read.position.as_ref(), epoch).await;
        read.until(reader.as_mut(), before + expected.len()).await;
        read.nothing_more(reader.as_mut()).await;
        let mut ids = read.ids().split_off(before);
        ids.sort();
        assert_eq!(ids, expected, "epoch {epoch}");
        reader.close().await;
    }
    assert_eq!(read.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_topics_are_read_together_each_in_its_order() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let topics: Vec<String> = (0..64).map(|n| format!("t.{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    for number in 0..10 {
        publish_to(&place, &topics, number).await;
    }
    let mut reader = open(&of(&place, &topics), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 640).await;
    for topic in topics {
        let of_topic = read.deliveries.iter().map(|one| one.message());
        let of_topic = of_topic.filter(|message| message.topic().as_str() == topic);
        let ids: Vec<String> = of_topic.map(|message| message.id().to_string()).collect();
        let expected: Vec<String> = (0..10).map(|number| format!("{topic}/{number}")).collect();
        assert_eq!(ids, expected);
    }
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_and_had_no_room_in_a_batch_is_neither_passed_by_nor_acked() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let topics = ["a", "b", "c"];
    for number in 0..2 {
        publish_to(&place, &topics, number).await;
    }
    for unordered in [false, true] {
        let builder = topics
            .iter()
            .fold(builder(&place), |builder, topic| builder.topic(*topic));
        let builder = if unordered {
            builder.unordered()
        } else {
            builder
        };
        let source = builder.build().expect("a source");
        if unordered {
            // The source that came before has moved the groups to the end.
            for topic in topics {
                place
                    .ask(&format!("XGROUP SETID {}{topic} tests 0", place.prefix))
                    .await;
            }
        }
        let mut read = Read::default();
        for epoch in 1..=6 {
            let mut reader = open(&source, read.position.as_ref(), epoch).await;
            read.step(reader.as_mut(), room(1)).await.expect("a batch");
            let stored = usize::try_from(epoch).expect("small");
            assert_eq!(read.deliveries.len(), stored, "{:?}", read.ids());
            assert_eq!(acked(&place, &topics).await, stored);
            // What it carries is dropped with it.
            drop(reader);
        }
        let mut ids = read.ids();
        ids.sort();
        assert_eq!(ids, ["a/0", "a/1", "b/0", "b/1", "c/0", "c/1"]);
    }
}

/// How many entries of these streams the group has behind it, those that are pending left out.
async fn acked(place: &Place, topics: &[&str]) -> usize {
    let mut acked = 0;
    for topic in topics {
        let stream = format!("{}{topic}", place.prefix);
        let told = place.ask(&format!("XINFO GROUPS {stream}")).await;
        let groups: Vec<HashMap<String, Value>> = redis::from_redis_value(told).expect("groups");
        let group = &groups[0];
        let at: String =
            redis::from_redis_value(group["last-delivered-id"].clone()).expect("an id");
        let up_to = place.ask(&format!("XRANGE {stream} - {at}")).await;
        let (Value::Array(up_to), Value::Int(pending)) = (up_to, &group["pending"]) else {
            panic!("no list of entries");
        };
        acked += up_to.len() - usize::try_from(*pending).expect("a count");
    }
    acked
}
