//! Secrets: passwords, and what messages hold, are in no text that the publisher makes.

use iobox_core::{
    Relay,
    memory::MemoryStore,
    message::{Headers, Message, MessageId, OrderingKey, Topic},
    partition::Partitions,
    publisher::Publisher as _,
};
use iobox_redis::Config;
use iobox_testkit::servers::{Cable, Redis};

use crate::support::{Log, Place, address, made, message, publish, server};

const CANARY: &str = "s3cr3t-CANARY";

/// A message that is secret in every part but topic and id.
fn secret(topic: &str) -> Message {
    let headers = vec![("tenant".to_owned(), CANARY.to_owned())];
    Message::new(
        message("t", "a").origin(),
        MessageId::new("a").expect("an id"),
        Topic::new(topic).expect("a topic"),
        Some(OrderingKey::new(CANARY).expect("a key")),
        Headers::from_pairs(headers).expect("headers"),
        CANARY.into(),
    )
}

// On one thread, so that the log hears the tasks of the driver, too.
#[tokio::test]
async fn no_text_holds_a_password_or_what_a_message_holds() {
    let log = Log::default();
    let guard = log.listen();
    tracing::trace!("the log listens");
    let mut texts = Vec::new();
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let cable = Cable::to(address(server.url())).await.expect("a cable");
    place
        .ask(&format!(
            "ACL SETUSER app on >{CANARY} ~{}* +xadd +info",
            place.prefix
        ))
        .await;
    place.ask(&format!("SET {}bad text", place.prefix)).await;
    let of = |password: &str, prefix: &str| {
        let url = format!("redis://app:{password}@{}", cable.address());
        Config::builder(url).prefix(prefix)
    };

    let builder = of(CANARY, &place.prefix);
    texts.push(format!("{builder:?}"));
    let publisher = made(builder);
    publisher.probe().await.expect("a probe");
    texts.extend(publish(&publisher, &[secret("good"), secret("bad")]).await);
    texts.push(format!("{publisher:?} {publisher:#?}"));

    // Refused: a password, keys, and by the relay at start.
    let wrong = format!("{CANARY}-wrong");
    for builder in [of(&wrong, &place.prefix), of(CANARY, "elsewhere:")] {
        let refused = made(builder.clone());
        let error = refused.probe().await.expect_err("refused");
        texts.push(format!("{error} {error:?} {error:#?}"));
        texts.extend(publish(&refused, &[secret("good")]).await);
        let store = MemoryStore::new(Partitions::DEFAULT);
        let relay = Relay::builder(store, made(builder))
            .build()
            .expect("a relay");
        let error = relay
            .run(std::future::pending())
            .await
            .expect_err("refused");
        texts.push(format!("{error} {error:?}"));
    }

    cable.cut().await;
    for _ in 0..3 {
        texts.extend(publish(&publisher, &[secret("good")]).await);
    }
    let error = publisher.probe().await.expect_err("cut");
    texts.push(format!("{error} {error:?}"));

    drop(guard);
    let logged = log.text();
    assert!(logged.contains("the log listens"), "{logged}");
    texts.push(logged);
    for text in texts {
        assert!(!text.contains(CANARY), "{text}");
    }
}
