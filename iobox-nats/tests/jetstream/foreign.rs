//! A foreign reader: Python, by the bare protocol, reads what `docs/wire.md` describes.

use std::process::Command;

use iobox_core::{
    message::{Message, Origin},
    publisher::{Publisher as _, Receipt},
};
use iobox_nats::JetStreamPublisher;
use iobox_testkit::broker::support::{message, publish};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::support::{place::Place, server};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jetstream/reader.py");

/// Runs the reader until it has read `count` messages.
fn read(address: std::net::SocketAddr, stream: &str, count: usize) -> Vec<Value> {
    let output = Command::new("python3")
        .arg(READER)
        .args([address.ip().to_string(), address.port().to_string()])
        .args([stream.to_owned(), count.to_string()])
        .output()
        .expect(
            "this test runs a reader in Python: put python3 into PATH (apt-get install python3)",
        );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_every_part() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let config = place.config().build().expect("a configuration");
    let publisher = JetStreamPublisher::new(config);
    publisher.probe().await.expect("a probe");
    let uuid = "0192f0c8-0000-7000-8000-00000000002a";
    let origin = Origin::new(Uuid::parse_str(uuid).expect("a UUID"));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let given = [
        ("content-type", "application/json"),
        ("traceparent", traceparent),
        ("Tenant", " blue "),
        ("share", "100%"),
    ];
    let messages: [Message; 3] = [
        message(
            origin,
            "order-1",
            "orders.created",
            Some("account 7"),
            &given,
            "{\"total\":12}",
        ),
        message(origin, "grün/2 %", "orders.created", None, &[], ""),
        message(origin, "3", "stock", Some("k\u{e4}"), &[], "GET\r\n\r\n"),
    ];
    for one in &messages {
        let outcome = publish(&publisher, std::slice::from_ref(one)).await;
        assert_eq!(outcome, [Ok(Receipt::new())]);
    }

    let (address, stream) = (server::address(&server), place.name.clone());
    let read = spawn_blocking(move || read(address, &stream, 3))
        .await
        .expect("a reader");
    assert_eq!(
        read[0],
        json!({
            "subject": format!("{}.orders.created", place.name),
            "origin": uuid,
            "id": "order-1",
            "key": "account 7",
            "headers": {
                "Nats-Msg-Id": format!("{uuid}/order-1"),
                "iobox-id": format!("{uuid}/order-1"),
                "iobox-key": "account%207",
                "iobox-encoded": "Tenant",
                "content-type": "application/json",
                "traceparent": traceparent,
                "Tenant": " blue ",
                "share": "100%",
            },
            "payload": "{\"total\":12}",
        })
    );
    assert_eq!(
        read[1],
        json!({
            "subject": format!("{}.orders.created", place.name),
            "origin": uuid,
            "id": "grün/2 %",
            "key": null,
            "headers": {
                "Nats-Msg-Id": format!("{uuid}/gr%C3%BCn/2%20%25"),
                "iobox-id": format!("{uuid}/gr%C3%BCn/2%20%25"),
            },
            "payload": "",
        })
    );
    assert_eq!(read[2]["key"], "k\u{e4}");
    assert_eq!(read[2]["payload"], "GET\r\n\r\n");
    assert_eq!(read[2]["subject"], format!("{}.stock", place.name));
}
