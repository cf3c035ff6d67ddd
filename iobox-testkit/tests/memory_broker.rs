//! Certifies the broker in memory, alone and behind a line that can be cut.
//!
//! The second harness makes a broker that refuses and a line that breaks, so that every half of
//! every case is run against something that keeps its word.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    memory::MemoryBroker,
    message::{Limits, Message, Topic},
    publisher::{Durability, Outcomes, PublishError, Publisher},
};
use iobox_testkit::broker::{Harness, Stored};
use tokio::sync::watch;

struct Memory(Arc<MemoryBroker>);

#[async_trait]
impl Harness for Memory {
    type Publisher = MemoryBroker;

    const DURABILITY: Durability = Durability::Volatile;
    const ABSORBS_DUPLICATES: bool = true;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = None;
    const REFUSES_TOPICS: bool = false;
    const CAN_BE_CUT: bool = false;

    async fn fresh() -> Self {
        Self(Arc::new(MemoryBroker::new()))
    }

    fn publisher(&self) -> &Arc<MemoryBroker> {
        &self.0
    }

    async fn another(&self) -> Result<Arc<MemoryBroker>> {
        Ok(Arc::clone(&self.0))
    }

    async fn stored(&self) -> Vec<Stored> {
        stored(&self.0)
    }

    async fn refuse(&self, _: &Topic) {}
    async fn mute(&self) {}
    async fn cut(&self) {}
    async fn mend(&self) {}
}

fn stored(broker: &MemoryBroker) -> Vec<Stored> {
    let log = broker.read(0, usize::MAX);
    log.iter().map(|one| Stored::of(&one.message)).collect()
}

/// The broker in memory behind a line, with a bound of its own and topics that it refuses.
#[derive(Debug)]
struct Far {
    broker: MemoryBroker,
    line: watch::Sender<Line>,
    refused: Mutex<HashSet<Topic>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    Muted,
    Cut,
}

impl Far {
    fn refusal(&self, message: &Message) -> Option<PublishError> {
        let bytes = message.payload().len();
        if bytes > Limits::PAYLOAD_MAX {
            let bound = Limits::PAYLOAD_MAX;
            let reason = format!("payload has {bytes} bytes; at most {bound} are taken");
            return Some(PublishError::Permanent(reason));
        }
        let refused = self.refused.lock().expect("no panic");
        refused
            .contains(message.topic())
            .then(|| PublishError::Transient("the topic is refused".to_owned()))
    }

    fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

#[async_trait]
impl Publisher for Far {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let mut line = self.line.subscribe();
        for (index, message) in batch.iter().enumerate() {
            if let Some(refusal) = self.refusal(message) {
                outcomes.report(index, Err(refusal));
                continue;
            }
            let state = *line.borrow_and_update();
            if state == Line::Cut {
                let reason = "not connected".to_owned();
                outcomes.report(index, Err(PublishError::Unavailable(reason)));
                continue;
            }
            let (record, mut one) = iobox_testkit::broker::support::Record::new(1);
            self.broker
                .publish(std::slice::from_ref(message), &mut one)
                .await;
            // A reply comes if the line was whole, at the moment or later.
            if state == Line::Whole {
                outcomes.report(index, record.all().remove(0));
            }
        }
        if *line.borrow() == Line::Muted {
            let changed = line.wait_for(|line| *line != Line::Muted).await;
            drop(changed);
        }
        outcomes.close("the connection ended before the reply");
    }

    async fn probe(&self) -> Result<Durability> {
        if *self.line.borrow() == Line::Whole {
            Ok(Durability::Volatile)
        } else {
            Err(Error::unavailable("not connected"))
        }
    }
}

struct Linked(Arc<Far>);

#[async_trait]
impl Harness for Linked {
    type Publisher = Far;

    const DURABILITY: Durability = Durability::Volatile;
    const ABSORBS_DUPLICATES: bool = true;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = Some(Limits::PAYLOAD_MAX + 1);
    const REFUSES_TOPICS: bool = true;
    const CAN_BE_CUT: bool = true;

    async fn fresh() -> Self {
        Self(Arc::new(Far {
            broker: MemoryBroker::new(),
            line: watch::Sender::new(Line::Whole),
            refused: Mutex::default(),
        }))
    }

    fn publisher(&self) -> &Arc<Far> {
        &self.0
    }

    async fn another(&self) -> Result<Arc<Far>> {
        Ok(Arc::clone(&self.0))
    }

    async fn stored(&self) -> Vec<Stored> {
        stored(&self.0.broker)
    }

    async fn refuse(&self, topic: &Topic) {
        let mut refused = self.0.refused.lock().expect("no panic");
        refused.insert(topic.clone());
    }

    async fn mute(&self) {
        self.0.set(Line::Muted);
    }

    async fn cut(&self) {
        self.0.set(Line::Cut);
    }

    async fn mend(&self) {
        self.0.set(Line::Whole);
    }
}

mod memory {
    use super::*;

    iobox_testkit::broker_suite!(Memory);
}

mod linked {
    use super::*;

    iobox_testkit::broker_suite!(Linked);
}
