//! Without an order: every instance reads, and each message is stored once.

use std::time::Duration;

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::source::{Order, Source as _};
use iobox_testkit::servers::Cable;

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, dry, open, publish_raw, source},
    inbox::{Books, stop},
    support::{server, until},
};

/// Checks that nothing is left to be acked.
async fn all_acked(desk: &Desk) {
    let name = format!("billing~{}~shared", desk.place.name);
    let stream = desk.place.context.get_stream(&desk.place.name).await;
    let stream = stream.expect("a stream");
    until("everything is acked", async || {
        let info = stream.consumer_info(&name).await.expect("a consumer");
        info.num_ack_pending == 0 && info.num_pending == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_store_each_message_once() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        assert_eq!(source(desk.config().unordered()).order(), Order::None);
        let books = Books::new();
        let one = books.read(desk.config().unordered());
        let other = books.read(desk.config().unordered());
        until("somebody reads", async || {
            !desk.consumers().await.is_empty()
        })
        .await;
        desk.publish(0..5_000).await;
        books.wait_for(5_000).await;
        all_acked(&desk).await;
        assert_eq!(books.seen(), 5_000);
        if retention != RetentionPolicy::Limits {
            desk.holds(0).await;
        }
        let consumers = desk.consumers().await;
        assert_eq!(consumers, [format!("billing~{}~shared", desk.place.name)]);
        stop(one).await;
        desk.publish(5_000..6_000).await;
        books.wait_for(6_000).await;
        all_acked(&desk).await;
        assert_eq!(books.seen(), 6_000);
        stop(other).await;
        assert_eq!(
            desk.consumers().await.len(),
            1,
            "it must outlive its readers"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_did_not_ack_another_gets() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::WorkQueue).await;
    let config = || desk.config().unordered().ack_wait(Duration::from_secs(1));
    let mut first = open(&source(config()), None, 0, 1).await;
    desk.publish(0..20).await;
    let mut room = ROOM;
    room.messages = 10;
    let held = first.next(room).await.expect("a batch");
    assert!(!held.deliveries.is_empty() && held.position.is_none());
    drop(first);
    let mut second = open(&source(config()), None, 0, 1).await;
    let mut read = Read::default();
    read.until(second.as_mut(), 20).await;
    let mut numbers: Vec<u32> = read
        .ids
        .iter()
        .map(|id| id.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    dry(second.as_mut()).await;
    desk.holds(0).await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_told_once() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::WorkQueue).await;
    let config = || desk.config().unordered().ack_wait(Duration::from_secs(1));
    let mut reader = open(&source(config()), None, 0, 1).await;
    let subject = format!("{}.{}", desk.place.name, vec!["a"; 17].join("."));
    desk.publish(0..1).await;
    publish_raw(server::address(&server), &subject, None, b"x").await;
    desk.publish(1..2).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 2).await;
    desk.holds(0).await;
    assert_eq!(read.refused, ["2"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    dry(reader.as_mut()).await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_lines_lose_nothing() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let cable = Cable::to(server::address(&server)).await.expect("a cable");
    let books = Books::new();
    let config = || {
        let url = format!("nats://{}", cable.address());
        desk.config_at(&url)
            .unordered()
            .ack_wait(Duration::from_secs(1))
    };
    let (one, other) = (books.read(config()), books.read(config()));
    for round in 0..4 {
        desk.publish(round * 2_000..(round + 1) * 2_000).await;
        books.wait_for(round as usize * 2_000 + 500).await;
        cable.cut().await;
        cable.mend();
    }
    books.wait_for(8_000).await;
    all_acked(&desk).await;
    assert_eq!(books.seen(), 8_000);
    stop(one).await;
    stop(other).await;
}
