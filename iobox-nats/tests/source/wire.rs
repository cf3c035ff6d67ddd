//! The wire: what a publisher wrote comes back, and what other programs wrote is taken as it is.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::stream::RetentionPolicy;
use iobox_core::{
    inbox::Delivery,
    message::{Message, Origin},
};
use iobox_testkit::broker::support::{ORIGIN, message, other_origin};

use crate::{
    desk::{Desk, RETENTIONS, ROOM, Read, open, publish_raw, source},
    support::server,
};

fn odd_messages() -> Vec<Message> {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", traceparent),
        ("tracestate", "a=b,c=d"),
        ("Tenant", " blue "),
        ("share", "100%"),
        ("empty", ""),
        ("umlaut", "gr\u{fc}n\u{a0}"),
    ];
    let long = "\u{fc}".repeat(127);
    let longest_topic = format!("a.{}", "b".repeat(253));
    vec![
        message(
            ORIGIN,
            "order/1",
            "orders.created",
            Some("account 7"),
            &headers,
            "{}",
        ),
        message(other_origin(), "order/1", "orders.created", None, &[], ""),
        message(
            ORIGIN,
            "gr\u{fc}n/2 %25 %",
            "a",
            Some("%"),
            &[],
            vec![0, 255, 13, 10],
        ),
        message(
            ORIGIN,
            &long,
            &longest_topic,
            Some(&long),
            &[],
            "GET\r\n\r\n",
        ),
        message(
            ORIGIN,
            " 3 ",
            "x-y_z.~!",
            Some(" "),
            &[("a", "\u{2003}b")],
            "x",
        ),
    ]
}

fn sorted(message: &Message) -> Vec<(String, String)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut headers: Vec<_> = message.headers().iter().map(owned).collect();
    headers.sort();
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_comes_back_as_it_was() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        let desk = Desk::of(server.url(), retention).await;
        let mut reader = open(&desk.source(), None, 1, 1).await;
        let published = odd_messages();
        let before = SystemTime::now();
        desk.publish_all(&published).await;
        let mut deliveries: Vec<Delivery> = Vec::new();
        while deliveries.len() < published.len() {
            let batch = reader.next(ROOM).await.expect("a batch");
            assert_eq!(batch.refused, []);
            deliveries.extend(batch.deliveries);
        }
        for (delivery, published) in deliveries.iter().zip(&published) {
            let read = delivery.message();
            assert_eq!(read.origin(), published.origin());
            assert_eq!(read.id(), published.id());
            assert_eq!(read.topic(), published.topic());
            assert_eq!(read.key(), published.key());
            assert_eq!(sorted(read), sorted(published));
            assert_eq!(read.payload(), published.payload());
            let second = Duration::from_secs(1);
            let at = delivery.event_time().expect("a time");
            assert!(at + second > before && at < SystemTime::now() + second);
            assert!(delivery.age().expect("an age") < Duration::from_secs(60));
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_need_nothing_of_ours() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let address = server::address(&server);
    let subject = format!("{}.orders.created", desk.place.name);
    publish_raw(address, &subject, None, b"plain").await;
    let headers =
        b"NATS/1.0\r\nNats-Msg-Id: m 1\r\nAccept: a\r\nAccept: b\r\ntraceparent: x\r\n\r\n";
    publish_raw(address, &subject, Some(headers), b"with headers").await;
    let created = desk.place.info().await.created.unix_timestamp_nanos();
    for use_message_ids in [false, true] {
        let config = desk.config().use_message_ids(use_message_ids);
        let mut reader = open(&source(config), None, 1, 1).await;
        let batch = reader.next(ROOM).await.expect("a batch");
        let [plain, rich] = &batch.deliveries[..] else {
            panic!("{batch:?}");
        };
        let id = plain.message().id().to_string();
        let expected = format!("{}/{created}/1/", desk.place.name);
        assert!(id.starts_with(&expected), "{id}");
        assert_eq!(plain.message().origin(), Origin::FOREIGN);
        assert_eq!(plain.message().topic().as_str(), "orders.created");
        assert_eq!(plain.message().payload(), &b"plain"[..]);
        assert_eq!(plain.message().key(), None);
        let id = rich.message().id().to_string();
        if use_message_ids {
            assert_eq!(id, "m 1");
        } else {
            let expected = format!("{}/{created}/2/", desk.place.name);
            assert!(id.starts_with(&expected), "{id}");
        }
        let headers = sorted(rich.message());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers, [pair("Accept", "a, b"), pair("traceparent", "x")]);
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_a_number_is_the_same_at_every_arrival() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let subject = format!("{}.orders", desk.place.name);
        let mut first = open(&source, None, 1, 1).await;
        publish_raw(server::address(&server), &subject, None, b"x").await;
        let before = first.next(ROOM).await.expect("a batch");
        let mut second = open(&source, None, 2, 1).await;
        let after = second.next(ROOM).await.expect("a batch");
        let id = |batch: &iobox_core::source::Batch| batch.deliveries[0].message().id().clone();
        assert_eq!(id(&before), id(&after));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_left_out_and_its_neighbours_are_not() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        println!("{retention:?}");
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut reader = open(&source, None, 1, 1).await;
        let address = server::address(&server);
        let subject = |topic: &str| format!("{}.{topic}", desk.place.name);
        desk.publish(0..2).await;
        let deep = subject(&vec!["a"; 17].join("."));
        publish_raw(address, &deep, None, b"too many tokens").await;
        desk.publish(2..3).await;
        let orders = subject("orders");
        let headers = b"NATS/1.0\r\niobox-id: canary\r\n\r\n";
        publish_raw(address, &orders, Some(headers), b"no id").await;
        let headers = format!("NATS/1.0\r\niobox-id: {ORIGIN}/%FF\r\n\r\n");
        publish_raw(address, &orders, Some(headers.as_bytes()), b"no UTF-8").await;
        publish_raw(address, &orders, None, &vec![b'x'; 300_000]).await;
        let headers = b"NATS/1.0\r\na: tab\there\r\n\r\n";
        publish_raw(address, &orders, Some(headers), b"a control character").await;
        desk.publish(3..4).await;
        let mut read = Read::default();
        let mut small = ROOM;
        small.messages = 4;
        while read.ids.len() < 4 {
            let batch = reader.next(small).await.expect("a batch");
            for refused in &batch.refused {
                assert!(!refused.reason.contains("canary"), "{}", refused.reason);
            }
            read.take(&batch);
            if !batch.is_empty() {
                reader.ack().await.expect("an ack");
            }
        }
        read.is(0..4);
        assert_eq!(read.refused, ["3", "5", "6", "7", "8"]);
        assert_eq!(read.lost, 0);
        if retention != RetentionPolicy::Limits {
            // Refusals are told as finally as acks are.
            desk.holds(0).await;
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refused_at_the_broker_before_it_is_committed() {
    let server = server::shared().await;
    for retention in [RetentionPolicy::Interest, RetentionPolicy::WorkQueue] {
        let desk = Desk::of(server.url(), retention).await;
        let source = desk.source();
        let mut first = open(&source, None, 1, 1).await;
        let subject = format!("{}.{}", desk.place.name, vec!["a"; 17].join("."));
        desk.publish(0..1).await;
        publish_raw(server::address(&server), &subject, None, b"x").await;
        let mut refused = 0;
        while refused == 0 {
            let batch = first.next(ROOM).await.expect("a batch");
            refused += batch.refused.len();
        }
        // Never committed, so never acked.
        desk.holds(2).await;
        first.close().await;
        desk.holds(2).await;
        let mut second = open(&source, None, 2, 1).await;
        let mut read = Read::default();
        while read.refused.is_empty() {
            read.once(second.as_mut(), ROOM).await.expect("a batch");
        }
        read.is(0..1);
        desk.holds(0).await;
        second.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_to_its_room_but_for_one_large_message() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        let desk = Desk::of(server.url(), retention).await;
        let mut reader = open(&desk.source(), None, 1, 1).await;
        let sized = |number: u32, bytes: usize| {
            message(
                ORIGIN,
                &number.to_string(),
                "orders",
                None,
                &[],
                vec![b'x'; bytes],
            )
        };
        let sizes = [
            100, 100, 50_000, 100, 3_000, 3_000, 3_000, 3_000, 200_000, 10,
        ];
        let batch: Vec<Message> = (0..).zip(sizes).map(|(n, size)| sized(n, size)).collect();
        desk.publish_all(&batch).await;
        let mut room = ROOM;
        (room.messages, room.bytes) = (3, 10_000);
        let mut read = Read::default();
        while read.ids.len() < sizes.len() {
            let batch = reader.next(room).await.expect("a batch");
            assert!(batch.deliveries.len() <= 3);
            let bytes = batch
                .deliveries
                .iter()
                .map(|one| one.message().payload().len());
            assert!(
                bytes.sum::<usize>() <= 10_000 || batch.deliveries.len() == 1,
                "{batch:?}"
            );
            read.take(&batch);
            if !batch.is_empty() {
                reader.ack().await.expect("an ack");
            }
        }
        read.is(0..10);
        reader.close().await;
    }
}
