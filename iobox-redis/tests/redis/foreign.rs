//! A foreign reader: the command line client of the server reads what `docs/wire.md` describes.

use anyhow::{Context as _, Result};
use iobox_core::message::{Headers, Message, MessageId, OrderingKey, Origin, Topic};
use iobox_testkit::servers::Redis;
use uuid::Uuid;

use crate::support::{Place, publish, redis_cli};

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_reads_every_field() -> Result<()> {
    let server = tokio::task::spawn_blocking(Redis::shared).await??;
    let place = Place::on(&server).await;
    let origin = Origin::new(Uuid::parse_str("0192f0c8-0000-7000-8000-00000000002a")?);
    let headers = Headers::from_pairs(vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("Tenant".to_owned(), "blue \"1\"".to_owned()),
    ])?;
    let topic = Topic::new("orders.created")?;
    let batch = [
        Message::new(
            origin,
            MessageId::new("order-1")?,
            topic.clone(),
            Some(OrderingKey::new("account 7")?),
            headers,
            "{\"total\":12}".into(),
        ),
        Message::new(
            origin,
            MessageId::new("order/2")?,
            topic,
            None,
            Headers::new(),
            "".into(),
        ),
    ];
    for one in batch {
        assert_eq!(publish(&place.publisher(), &[one]).await, [""]);
    }
    let stream = format!("{}orders.created", place.prefix);
    let read = redis_cli(&server, &["XRANGE", &stream, "-", "+"])?;
    let lines: Vec<&str> = read.lines().collect();
    let mut expected = vec![
        lines[0],
        "id",
        "0192f0c8-0000-7000-8000-00000000002a/order-1",
        "topic",
        "orders.created",
        "key",
        "account 7",
        "headers",
        "[[\"content-type\",\"application/json\"],[\"Tenant\",\"blue \\\"1\\\"\"]]",
        "payload",
        "{\"total\":12}",
    ];
    expected.extend([
        lines[11],
        "id",
        "0192f0c8-0000-7000-8000-00000000002a/order/2",
        "topic",
        "orders.created",
        "payload",
        "",
    ]);
    assert_eq!(lines, expected);
    for id in [lines[0], lines[11]] {
        let (time, sequence) = id.split_once('-').context("an entry id")?;
        time.parse::<u64>()?;
        sequence.parse::<u64>()?;
    }
    // A reader that keeps its place asks for what comes after the last id that it has.
    let rest = redis_cli(
        &server,
        &["XREAD", "COUNT", "10", "STREAMS", &stream, lines[0]],
    )?;
    assert!(rest.lines().any(|line| line == lines[11]), "{rest}");
    assert!(!rest.lines().any(|line| line == lines[0]), "{rest}");
    Ok(())
}
