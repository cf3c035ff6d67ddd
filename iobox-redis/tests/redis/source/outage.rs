//! Outages: an inbox whose server is killed and started again while a relay publishes through it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use iobox_testkit::{
    servers::Redis,
    source::support::{inbox, store},
};

use super::builder;
use crate::support::{Place, Reader, Relayed, server, until};

const KEYS: usize = 20;
const ROUNDS: usize = 3;
const EACH: usize = 2_000;

/// What was handled: how often each id, and the ids of each key in order.
#[derive(Default)]
struct Notes {
    counts: BTreeMap<String, u32>,
    keys: HashMap<String, Vec<String>>,
}

async fn survives(unordered: bool) {
    // Synced each time, since a server that syncs every second may hold back what it confirmed
    // while its disk is slow.
    let settings = Redis::builder().setting("appendfsync always");
    let mut server = server(settings).await;
    let mut place = Place::on(&server).await;
    let topics = ["orders.0", "orders.1", "orders.2"];
    let builder = topics
        .iter()
        .fold(builder(&place), |builder, topic| builder.topic(*topic));
    let builder = if unordered {
        builder.unordered()
    } else {
        builder
    };
    let source = builder.build().expect("a source");
    let notes = Arc::new(Mutex::new(Notes::default()));
    let sink = Arc::clone(&notes);
    let note = move |message: &iobox_core::message::Message| {
        let mut notes = sink.lock().expect("no panic");
        let id = message.id().to_string();
        let key = message.key().expect("a key").to_string();
        notes.keys.entry(key).or_default().push(id.clone());
        *notes.counts.entry(id).or_default() += 1;
    };
    let count = || notes.lock().expect("no panic").counts.len();
    let running = inbox(&store(), source, note).spawn();
    let mut relayed = Relayed::start(place.publisher());
    for _ in 0..ROUNDS {
        let before = count();
        relayed.enqueue(EACH, KEYS).await;
        until("messages are handled", async || count() > before + 100).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill().expect("a kill");
            server.start().expect("a start");
            server
        })
        .await
        .expect("no panic");
        place.reader = Reader::open(server.url()).await.expect("a reader");
    }
    relayed.end().await;
    until("everything is handled", async || count() == ROUNDS * EACH).await;
    running.drain().await.expect("a drain");
    let notes = notes.lock().expect("no panic");
    let twice = notes.counts.values().filter(|count| **count != 1).count();
    assert_eq!(twice, 0, "nothing is handled twice");
    if !unordered {
        for (key, ids) in &notes.keys {
            assert!(ids.is_sorted(), "key {key} is out of order: {ids:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_outlives_kills_of_its_server_in_order_and_without_loss() {
    survives(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_without_an_order_outlives_kills_of_its_server_without_loss() {
    survives(true).await;
}
