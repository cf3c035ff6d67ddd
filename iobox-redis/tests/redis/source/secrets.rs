//! Secrets: nothing that a stream holds, and no credentials, in what a source logs or shows.

use iobox_core::source::Source as _;
use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open, room},
};

use super::{TOPIC, builder};
use crate::support::{Log, Place, server};

const CANARY: &str = "s3cr3t-CANARY";

#[tokio::test]
async fn logs_errors_and_debug_show_no_content() {
    let log = Log::default();
    let _guard = log.listen();
    let server = server(Redis::builder().password(CANARY)).await;
    let address = server.url().trim_start_matches("redis://");
    let url = format!("redis://:{CANARY}@{address}");
    let place = Place {
        reader: crate::support::Reader::open(&url).await.expect("a reader"),
        prefix: "place:".to_owned(),
        url,
    };
    let stream = format!("{}{TOPIC}", place.prefix);
    let wire_id = "00000000-0000-0000-0000-000000000001/x";
    for fields in [
        format!("data {CANARY}"),
        format!("{CANARY} {CANARY} {CANARY} {CANARY}"),
        format!("id {wire_id} topic {TOPIC} payload {CANARY} headers {CANARY}"),
        format!("id {wire_id} topic {TOPIC}>{CANARY} payload {CANARY} key {CANARY}"),
    ] {
        place.ask(&format!("XADD {stream} * {fields}")).await;
    }
    let mut shown = String::new();
    for builder in [builder(&place), builder(&place).unordered()] {
        let source = builder.topic(TOPIC).build().expect("a source");
        source.probe().await.expect("a probe");
        let mut reader = open(&source, None, 1).await;
        shown += &format!("{source:?} {reader:?}");
        let batch = reader.next(room(10)).await;
        shown += &format!("{batch:?} {reader:?}");
        let batch = batch.expect("a batch");
        assert_eq!((batch.deliveries.len(), batch.refused.len()), (1, 3));
        reader.ack().await.expect("an ack");
        place.ask(&format!("DEL {stream}")).await;
        place.ask(&format!("SET {stream} {CANARY}")).await;
        let mut read = Read::default();
        let next = read.step(reader.as_mut(), room(1)).await;
        shown += &format!("{:?}", next.expect_err("no stream"));
        drop(reader);
        shown += &format!("{:?}", source.probe().await.expect_err("no stream"));
        place.ask(&format!("DEL {stream}")).await;
        place.ask(&format!("XADD {stream} * data {CANARY}")).await;
        for n in 0..3 {
            place
                .ask(&format!("XADD {stream} * {CANARY} {n} {CANARY} {n}"))
                .await;
        }
    }
    shown += &log.text();
    assert!(!shown.contains(CANARY), "{shown}");
}
