//! Faults of messages on their way to a broker and from it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::SourceName,
    memory::MemoryBroker,
    message::{Limits, Message},
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
    source::{Room, Source, Start},
    store::Epoch,
};
use iobox_testkit::{
    broker::support::labelled,
    fault::{Fault, Faults, UnreliableBroker},
};

type Heard = Vec<Option<Result<Receipt, PublishError>>>;

/// Publishes, and returns what was heard of each message.
async fn publish(publisher: &impl Publisher, batch: &[Message]) -> Heard {
    let heard = Arc::new(Mutex::new(vec![None; batch.len()]));
    let sink = Arc::clone(&heard);
    let mut outcomes = Outcomes::new(batch.len(), move |index, outcome| {
        sink.lock().expect("no panic")[index] = Some(outcome);
    });
    publisher.publish(batch, &mut outcomes).await;
    heard.lock().expect("no panic").clone()
}

fn batch(labels: &[&str]) -> Vec<Message> {
    labels.iter().map(labelled).collect()
}

fn held(broker: &MemoryBroker) -> Vec<String> {
    let log = broker.read(0, 100).into_iter();
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    log.map(|one| text(one.message.payload())).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    let text = |one: &Message| String::from_utf8_lossy(one.payload()).into_owned();
    messages.iter().map(text).collect()
}

#[tokio::test]
async fn each_message_meets_its_own_fault() {
    let (broker, faults) = (MemoryBroker::new(), Faults::none());
    let publisher = faults.publisher(broker.clone());
    for fault in [None, Some(Fault::Before), Some(Fault::After), None] {
        faults.then(fault);
    }
    let messages = batch(&["a", "b", "c", "d"]);
    let heard = publish(&publisher, &messages).await;
    assert_eq!(heard[0], Some(Ok(Receipt::new())));
    assert!(matches!(&heard[1], Some(Err(PublishError::Unavailable(_)))));
    assert!(matches!(&heard[2], Some(Err(PublishError::Unknown(_)))));
    assert_eq!(heard[3], Some(Ok(Receipt::new())));
    let texts = texts(&messages);
    let expected: Vec<_> = [0, 2, 3].map(|at| texts[at].clone()).to_vec();
    assert_eq!(
        held(&broker),
        expected,
        "what was not sent is not there, what was is"
    );
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_there_twice() {
    let faults = Faults::none();
    let broker = UnreliableBroker::new(&faults);
    faults.then(Fault::Twice);
    let heard = publish(&broker, &batch(&["a", "b"])).await;
    assert_eq!(heard, [Some(Ok(Receipt::new())), Some(Ok(Receipt::new()))]);
    let held = held(broker.log());
    assert_eq!(held.len(), 3);
    assert_eq!(held[0], held[2]);
}

#[tokio::test]
async fn reordered_messages_keep_their_outcomes() {
    let (broker, faults) = (MemoryBroker::new(), Faults::none());
    let messages = batch(&["a", "b", "c"]);
    // The broker knows the second one.
    publish(&broker, &messages[1..2]).await;
    broker.wait_for(1).await;
    let publisher = faults.publisher(broker.clone());
    for _ in 0..3 {
        faults.then(Fault::Reorder);
    }
    let heard = publish(&publisher, &messages).await;
    let known: Vec<_> = heard
        .iter()
        .flatten()
        .flatten()
        .map(|one| one.duplicate)
        .collect();
    assert_eq!(known, [false, true, false]);
    let texts = texts(&messages);
    assert_eq!(held(&broker), [1, 2, 0].map(|at| texts[at].clone()));
}

/// A publisher whose broker never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Publisher for Silent {
    async fn publish(&self, _: &[Message], _: &mut Outcomes) {
        std::future::pending().await
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Volatile)
    }
}

#[tokio::test]
async fn a_cut_ends_what_is_under_way() {
    let faults = Faults::none();
    let publisher = faults.publisher(Silent);
    let messages = batch(&["a"]);
    let (heard, ()) = tokio::join!(publish(&publisher, &messages), async {
        tokio::task::yield_now().await;
        faults.cut();
    });
    assert!(
        matches!(&heard[0], Some(Err(PublishError::Unknown(_)))),
        "{heard:?}"
    );
    let heard = publish(&publisher, &messages).await;
    assert!(
        matches!(&heard[0], Some(Err(PublishError::Unavailable(_)))),
        "{heard:?}"
    );
    assert!(publisher.probe().await.is_err());
    faults.mend();
    assert!(publisher.probe().await.is_ok());
}

#[tokio::test]
async fn deliveries_come_twice_in_another_order_and_acks_get_lost() {
    let (log, faults) = (MemoryBroker::new(), Faults::none());
    let messages = batch(&["a", "b", "c"]);
    publish(&log, &messages).await;
    let broker = UnreliableBroker::of(log, &faults);
    let source = broker.source(SourceName::new("log").expect("a name"));
    let limits = Limits::default();
    let room = Room {
        messages: 2,
        bytes: 1_000_000,
        wait: Duration::from_millis(10),
    };
    let start = Start::new(None, Epoch(1), 1, limits);
    let mut reader = source.open(&start).await.expect("a reader");
    faults.then(Fault::Twice);
    let first = reader.next(room).await.expect("a batch");
    let ids = |deliveries: &[iobox_core::inbox::Delivery]| {
        let one = |one: &iobox_core::inbox::Delivery| one.message().id().to_string();
        deliveries.iter().map(one).collect::<Vec<_>>()
    };
    let all: Vec<_> = messages.iter().map(|one| one.id().to_string()).collect();
    let twice = [0, 1, 0, 1].map(|at| all[at].clone());
    assert_eq!(ids(&first.deliveries), twice);
    faults.then(Fault::Before);
    assert!(reader.ack().await.is_err());
    assert_eq!(source.inner().acked(), 0);
    faults.then(Fault::After);
    assert!(reader.ack().await.is_err());
    assert_eq!(source.inner().acked(), 2);

    let mut reader = source.open(&start).await.expect("a reader");
    faults.then(Fault::Reorder);
    let second = reader.next(room).await.expect("a batch");
    assert_eq!(ids(&second.deliveries), [1, 0].map(|at| all[at].clone()));
}
