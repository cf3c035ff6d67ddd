//! What the server answers about single messages.

use std::sync::Arc;

use async_nats::jetstream::stream::DiscardPolicy;
use iobox_core::{
    message::{Headers, Message},
    publisher::{Outcomes, PublishError, Publisher as _, Receipt},
};
use iobox_nats::JetStreamPublisher;
use iobox_testkit::broker::support::{ORIGIN, Outcome, message, publish, publish_one};
use iobox_testkit::servers::Nats;

use crate::support::{place::Place, server};

fn publisher(place: &Place) -> JetStreamPublisher {
    JetStreamPublisher::new(place.config().build().expect("a configuration"))
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Err(
            PublishError::Transient(text)
            | PublishError::Permanent(text)
            | PublishError::Unavailable(text)
            | PublishError::Unknown(text),
        ) => text,
        Ok(_) => "",
    }
}

fn sized(id: &str, bytes: usize) -> Message {
    message(ORIGIN, id, "orders", Some(id), &[], vec![b'x'; bytes])
}

#[tokio::test]
async fn a_message_beyond_the_servers_payload_is_permanent_with_its_sizes() {
    let server = server::private(Nats::builder().setting("max_payload: 4096")).await;
    let place = Place::at(server.url()).await;
    let publisher = publisher(&place);
    let batch = [sized("a", 100), sized("b", 4_096), sized("c", 100)];
    let outcomes = publish(&publisher, &batch).await;
    assert_eq!(outcomes[0], Ok(Receipt::new()));
    assert!(matches!(outcomes[1], Err(PublishError::Permanent(_))));
    let text = reason(&outcomes[1]);
    assert!(
        text.contains("takes at most 4096: raise its max_payload"),
        "{text}"
    );
    assert_eq!(outcomes[2], Ok(Receipt::new()));
}

#[tokio::test]
async fn a_message_beyond_the_streams_size_is_permanent_and_alone() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| stream.max_message_size = 1_000).await;
    let publisher = publisher(&place);
    let batch: Vec<Message> = (0..20)
        .map(|n| sized(&n.to_string(), if n % 5 == 2 { 2_000 } else { 10 }))
        .collect();
    for (n, outcome) in publish(&publisher, &batch).await.iter().enumerate() {
        if n % 5 == 2 {
            assert!(
                matches!(outcome, Err(PublishError::Permanent(_))),
                "{outcome:?}"
            );
            assert!(reason(outcome).contains("exceeds maximum"), "{outcome:?}");
        } else {
            assert_eq!(*outcome, Ok(Receipt::new()), "message {n}");
        }
    }
    assert_eq!(place.stored().await.len(), 16);
}

#[tokio::test]
async fn a_full_stream_is_unavailable_and_a_full_subject_is_not() {
    let server = server::shared().await;
    let full = Place::with(server.url(), |stream| {
        stream.max_messages = 2;
        stream.discard = DiscardPolicy::New;
    })
    .await;
    let to_full = publisher(&full);
    let outcomes = publish(&to_full, &[sized("a", 1), sized("b", 1), sized("c", 1)]).await;
    assert_eq!(outcomes[..2], [Ok(Receipt::new()), Ok(Receipt::new())]);
    assert!(
        matches!(outcomes[2], Err(PublishError::Unavailable(_))),
        "{outcomes:?}"
    );
    let error = to_full.probe().await.expect_err("a full stream");
    assert!(error.is_retryable(), "{error}");
    assert!(
        error
            .to_string()
            .contains("is full: it has 2 of 2 messages"),
        "{error}"
    );

    let narrow = Place::with(server.url(), |stream| {
        stream.max_messages_per_subject = 1;
        stream.discard = DiscardPolicy::New;
        stream.discard_new_per_subject = true;
    })
    .await;
    let to_narrow = publisher(&narrow);
    let of = |id, topic| message(ORIGIN, id, topic, None, &[], "");
    let outcomes = publish(
        &to_narrow,
        &[of("a", "one"), of("b", "one"), of("c", "two")],
    )
    .await;
    assert_eq!(outcomes[0], Ok(Receipt::new()));
    assert!(
        matches!(outcomes[1], Err(PublishError::Transient(_))),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[2], Ok(Receipt::new()));
}

#[tokio::test]
async fn a_subject_that_the_stream_does_not_take_is_not_sent_to_another() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.subjects = vec![format!("{}.taken", stream.name)];
    })
    .await;
    // Another stream would take it, and acknowledge it.
    let other = Place::with(server.url(), |stream| {
        stream.subjects = vec![format!("{}.refused", place.name)];
    })
    .await;
    let publisher = publisher(&place);
    let of = |id, topic| message(ORIGIN, id, topic, None, &[], "");
    let outcomes = publish(&publisher, &[of("a", "refused"), of("b", "taken")]).await;
    assert!(
        matches!(outcomes[0], Err(PublishError::Transient(_))),
        "{outcomes:?}"
    );
    let expected = format!("does not take subject {}.refused: add it", place.name);
    assert!(reason(&outcomes[0]).contains(&expected), "{outcomes:?}");
    assert_eq!(outcomes[1], Ok(Receipt::new()));
    assert_eq!(other.info().await.state.messages, 0);
}

#[tokio::test]
async fn a_subject_that_is_added_later_is_taken_within_seconds() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.subjects = vec![format!("{}.old", stream.name)];
    })
    .await;
    let publisher = publisher(&place);
    let one = message(ORIGIN, "a", "new", None, &[], "");
    assert!(publish_one(&publisher, &one).await.is_err());
    let mut config = place.info().await.config;
    config.subjects.push(format!("{}.new", place.name));
    place
        .context
        .update_stream(config)
        .await
        .expect("an update");
    crate::support::until("the new subject is taken", async || {
        publish_one(&publisher, &one).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn headers_that_the_server_would_obey_never_reach_it() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| stream.allow_rollup = true).await;
    let publisher = publisher(&place);
    for n in 0..3 {
        let one = sized(&n.to_string(), 10);
        assert_eq!(publish_one(&publisher, &one).await, Ok(Receipt::new()));
    }
    // Such a message cannot even be made.
    for name in ["Nats-Rollup", "nats-expected-stream", "NATS-TTL"] {
        let pairs = vec![(name.to_owned(), String::from("all"))];
        Headers::from_pairs(pairs).expect_err(name);
    }
    assert_eq!(place.stored().await.len(), 3);
}

#[tokio::test]
async fn a_dropped_call_gives_its_room_back() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let config = place.config().max_in_flight(10).build();
    let publisher = Arc::new(JetStreamPublisher::new(config.expect("a configuration")));
    publisher.probe().await.expect("a probe");
    for round in 0..20 {
        let batch: Vec<Message> = (0..50)
            .map(|n| sized(&format!("{round}-{n}"), 10))
            .collect();
        let mut outcomes = Outcomes::new(batch.len(), |_, _| {});
        // Dropped when ten are on their way and the others wait for room.
        tokio::select! {
            biased;
            () = publisher.publish(&batch, &mut outcomes) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    let batch: Vec<Message> = (0..50).map(|n| sized(&format!("last-{n}"), 10)).collect();
    for outcome in publish(publisher.as_ref(), &batch).await {
        assert_eq!(outcome, Ok(Receipt::new()));
    }
}
