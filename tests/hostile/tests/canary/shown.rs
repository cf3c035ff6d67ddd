//! `Debug` of the public types that hold what is planted.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use iobox::{
    Error, Outbox,
    dispatch::Command,
    handler::HandlerError,
    inbox::Delivery,
    memory::{MemoryBroker, MemorySource, MemoryStore},
    message::{Headers, Limits, OrderingKey, Origin, RandomIds},
    partition::{Partition, Partitions},
    publisher::Outcomes,
    queue::Queue,
    source::{Batch, Position, Source as _, Start},
    store::{
        Aside, Body, Epoch, FetchPartition, FetchRequest, Fetched, Filter, IngestRequest, Pending,
        Revision, Selection, Seq,
    },
};

use super::{
    capture::Capture,
    plant::{PRIVATE, SECRET, draft, secret},
};

fn key() -> OrderingKey {
    OrderingKey::new(PRIVATE).expect("a key")
}

fn filter() -> Filter {
    Filter {
        key: Some(key()),
        ..Filter::default()
    }
}

fn pending() -> Pending {
    Pending {
        partition: Partition::new(0),
        seq: Seq(1),
        revision: Revision(1),
        attempt: 0,
        key: Some(key()),
        uncertain: false,
        alone: false,
        suspect: false,
        crashes: 0,
        age: Duration::ZERO,
        size: 1,
        body: Body::Message(secret("a", "t")),
    }
}

fn fetch_request() -> FetchRequest {
    FetchRequest {
        queue: Queue::Outbox,
        partitions: vec![FetchPartition {
            partition: Partition::new(0),
            epoch: Epoch(1),
            limit: 1,
            held: Vec::new(),
            full: vec![key()],
            release: vec![key()],
            sweep: false,
        }],
        limit: 1,
        bytes: 1,
    }
}

/// Takes `Debug` of everything that holds a message or a part of one.
pub(crate) async fn look(capture: &Capture) {
    let (draft, message) = (draft("a"), secret("a", "t"));
    let limits = Limits::default();
    let sealed = draft
        .seal(Origin::FOREIGN, limits, &RandomIds)
        .expect("a message");
    capture.debug("draft", &draft);
    capture.debug("sealed", &sealed);
    capture.debug("message", &message);
    capture.debug("key", &key());
    capture.debug("stored key", &OrderingKey::stored(PRIVATE));
    let pairs = vec![("tenant".to_owned(), PRIVATE.to_owned())];
    capture.debug("headers", &Headers::from_pairs(pairs).expect("headers"));
    let json = format!("{{\"a\": {{\"b\": \"{SECRET}\"}}}}");
    capture.refused("stored headers", Headers::from_json(&json));
    capture.refused(
        "stored headers",
        Headers::from_json(&json[..json.len() - 1]),
    );

    let delivery = Delivery::new(message.clone());
    capture.debug("delivery", &delivery);
    let mut batch = Batch::default();
    batch.deliveries.push(delivery.clone());
    capture.debug("batch", &batch);
    capture.debug(
        "ingest",
        &IngestRequest {
            epoch: Epoch(1),
            from: None,
            to: Position::new("1").expect("a position"),
            deliveries: vec![delivery],
        },
    );

    capture.debug("pending", &pending());
    let aside = Aside {
        partition: Partition::new(0),
        key: key(),
        first: Seq(1),
        count: 1,
    };
    let fetched = Fetched {
        pending: vec![pending()],
        aside: vec![aside],
        released: vec![(Partition::new(0), key())],
        more: Vec::new(),
    };
    capture.debug("fetched", &fetched);
    capture.debug("request", &fetch_request());
    capture.debug("filter", &filter());
    capture.debug("selection", &Selection::Matching(filter()));
    capture.debug(
        "selection",
        &Selection::published_since(SystemTime::UNIX_EPOCH),
    );
    machine(capture);

    let outcomes = Outcomes::new(1, |_, _| {});
    capture.debug("outcomes", &outcomes);
    let store = MemoryStore::new(Partitions::DEFAULT);
    capture.debug("outbox", &Outbox::new(store));
    let broker = MemoryBroker::new();
    let name = iobox::inbox::SourceName::new("s").expect("a name");
    let source = MemorySource::new(name, broker);
    capture.debug("source", &source);
    let reader = source.open(&Start::new(None, Epoch(1), 1, limits)).await;
    assert!(reader.is_ok());
    let rejected = iobox::handler::read_json::<u32>(&sealed.message);
    if let Err(error) = rejected {
        capture.debug("rejected", &error);
        capture.text("rejected", &error.to_string());
    }
    let retry = HandlerError::from(Error::unavailable("later"));
    capture.debug("retry", &retry);
}

/// Walks a machine until it executes, and takes each command.
fn machine(capture: &Capture) {
    use iobox::{
        dispatch::{Machine, Settings, Time},
        store::{Acquired, Grant, Renewed},
    };

    let settings = Settings::new(Queue::Outbox);
    let random = fastrand::Rng::with_seed(7);
    let mut machine = Machine::new(settings, Arc::new(RandomIds), random, Time::default());
    let mut executed = false;
    for n in 0..100_u64 {
        let now = Time::default() + Duration::from_millis(n * 100);
        while let Some(command) = machine.poll(now) {
            capture.debug("command", &command);
            match command {
                Command::Renew(_) => machine.renewed(Ok(Renewed::Alive), now),
                Command::Acquire(_) => machine.acquired(
                    Ok(Acquired::Share {
                        share: 1,
                        granted: vec![Grant {
                            partition: Partition::new(0),
                            epoch: Epoch(1),
                            abandoned: false,
                        }],
                    }),
                    now,
                ),
                Command::Fetch(call, _) => {
                    let fetched = Fetched {
                        pending: if executed {
                            Vec::new()
                        } else {
                            vec![pending()]
                        },
                        ..Fetched::default()
                    };
                    machine.fetched(call, Ok(fetched), now);
                }
                Command::Execute(_) => executed = true,
                _ => {}
            }
            capture.debug("machine", &machine);
        }
    }
    assert!(executed, "the machine executes the planted message");
}
