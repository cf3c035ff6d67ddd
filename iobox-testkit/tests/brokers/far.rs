//! The broker in memory behind a line that can be cut, with a bound of its own and topics that it
//! refuses; sound, or with a bug.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use iobox_core::{
    Error, Result,
    memory::MemoryBroker,
    message::{Headers, Limits, Message, Origin, Topic},
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};
use iobox_testkit::broker::{Harness, Stored, support::Record};
use tokio::sync::watch;
use uuid::Uuid;

/// What a publisher does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// Reports each outcome for the message behind.
    ShiftsIndexes,
    /// Leaves out the last message of a batch, and reports it as taken.
    ForgetsTheLast,
    /// Refuses a whole batch for one message.
    RefusesNeighbours,
    /// Calls messages unavailable that it sends.
    SendsWithoutAConnection,
    /// Calls a lost reply unavailable.
    TakesALostReplyForARefusal,
    /// Calls a lost reply taken, also when nothing was sent.
    TakesSilenceForConsent,
    /// Leaves the reports to whoever drops the outcomes.
    ReportsNothingOfRefusals,
    /// Does not say that a message was known.
    HidesDuplicates,
    /// Knows messages again by their id alone.
    ForgetsTheOrigin,
    /// Writes headers in lower case.
    LowersHeaders,
    /// Writes headers sorted.
    SortsHeaders,
    /// Gives every message a content type.
    InventsAContentType,
    /// Writes topics in lower case.
    LowersTopics,
    /// Gives messages without a key their id as key.
    InventsKeys,
    /// Ends payloads at the first zero.
    EndsAtZero,
    /// Is of no use after a publish was dropped.
    BreaksWhenDropped,
    /// Writes when it is probed.
    WritesProbes,
    /// Says too much of what a broker keeps.
    Boasts,
    /// Shows the payload that it refuses.
    ShowsPayloads,
}

impl Bug {
    /// What is written instead of `message`.
    fn change(self, message: &Message) -> Message {
        let headers = message.headers().iter();
        let mut pairs: Vec<(String, String)> = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut origin = message.origin();
        let mut topic = message.topic().clone();
        let mut key = message.key().cloned();
        let mut payload = message.payload().clone();
        match self {
            Self::LowersHeaders => {
                for (name, _) in &mut pairs {
                    name.make_ascii_lowercase();
                }
            }
            Self::SortsHeaders => pairs.sort(),
            Self::InventsAContentType if message.headers().is_empty() => {
                pairs.push(("content-type".to_owned(), "text/plain".to_owned()));
            }
            Self::ForgetsTheOrigin => origin = Origin::new(Uuid::nil()),
            Self::LowersTopics => {
                let text = topic.as_str().to_ascii_lowercase();
                topic = Topic::new(text).expect("a topic");
            }
            Self::InventsKeys if key.is_none() => {
                let id = message.id().as_str();
                key = Some(iobox_core::message::OrderingKey::new(id).expect("a key"));
            }
            Self::EndsAtZero => {
                let end = payload.iter().position(|byte| *byte == 0);
                payload = Bytes::copy_from_slice(&payload[..end.unwrap_or(payload.len())]);
            }
            _ => return message.clone(),
        }
        let headers = Headers::from_pairs(pairs).expect("headers");
        Message::new(origin, message.id().clone(), topic, key, headers, payload)
    }
}

/// The publisher.
#[derive(Debug)]
pub(crate) struct Far {
    bug: Bug,
    begun: AtomicUsize,
    ended: AtomicUsize,
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
            let mut reason = format!("payload has {bytes} bytes; at most {bound} are taken");
            if self.bug == Bug::ShowsPayloads {
                reason += &String::from_utf8_lossy(message.payload());
            }
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
        let dropped = self.begun.fetch_add(1, Ordering::SeqCst) > self.ended.load(Ordering::SeqCst);
        if self.bug == Bug::BreaksWhenDropped && dropped {
            return outcomes.close("an earlier publish was dropped");
        }
        // As a real one, it is somewhere else for a moment.
        tokio::task::yield_now().await;
        let mut line = self.line.subscribe();
        let refusal = batch.iter().find_map(|message| self.refusal(message));
        let whole = refusal.filter(|_| self.bug == Bug::RefusesNeighbours);
        for index in 0..batch.len() {
            let state = *line.borrow_and_update();
            let at = match self.bug {
                Bug::ShiftsIndexes => (index + 1) % batch.len(),
                _ => index,
            };
            if let Some(outcome) = self
                .one(
                    &batch[index],
                    whole.clone(),
                    state,
                    index + 1 == batch.len(),
                )
                .await
            {
                outcomes.report(at, outcome);
            }
        }
        if *line.borrow() == Line::Muted {
            let changed = line.wait_for(|line| *line != Line::Muted).await;
            drop(changed);
        }
        let lost = "the connection ended before the reply";
        for index in 0..batch.len() {
            match self.bug {
                Bug::TakesALostReplyForARefusal => {
                    outcomes.report(index, Err(PublishError::Unavailable(lost.to_owned())));
                }
                Bug::TakesSilenceForConsent => outcomes.report(index, Ok(Receipt::new())),
                _ => {}
            }
        }
        if self.bug != Bug::ReportsNothingOfRefusals {
            outcomes.close(lost);
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    async fn probe(&self) -> Result<Durability> {
        if *self.line.borrow() != Line::Whole {
            return Err(Error::unavailable("not connected"));
        }
        if self.bug == Bug::WritesProbes {
            let probe = iobox_testkit::broker::support::labelled("probe");
            let (_, mut outcomes) = Record::new(1);
            self.broker.publish(&[probe], &mut outcomes).await;
        }
        Ok(match self.bug {
            Bug::Boasts => Durability::Replicated,
            _ => Durability::Volatile,
        })
    }
}

impl Far {
    /// Publishes one message; nothing when its reply does not come for the moment.
    async fn one(
        &self,
        message: &Message,
        whole: Option<PublishError>,
        state: Line,
        is_last: bool,
    ) -> Option<Result<Receipt, PublishError>> {
        if let Some(refusal) = whole.or_else(|| self.refusal(message)) {
            return (self.bug != Bug::ReportsNothingOfRefusals).then_some(Err(refusal));
        }
        if self.bug == Bug::ForgetsTheLast && is_last {
            return Some(Ok(Receipt::new()));
        }
        let cut = state == Line::Cut;
        if cut && self.bug == Bug::TakesSilenceForConsent {
            return None;
        }
        if !cut || self.bug == Bug::SendsWithoutAConnection {
            let (record, mut outcomes) = Record::new(1);
            let written = self.bug.change(message);
            self.broker.publish(&[written], &mut outcomes).await;
            if state == Line::Whole {
                let outcome = record.all().remove(0);
                return Some(match self.bug {
                    Bug::HidesDuplicates => outcome.map(|_| Receipt::new()),
                    _ => outcome,
                });
            }
        }
        // A reply comes if the line was whole at the moment.
        cut.then(|| Err(PublishError::Unavailable("not connected".to_owned())))
    }
}

/// The harness, with the bug of this number.
pub(crate) struct Linked<const BUG: usize>(Arc<Far>);

/// Every bug, by its number.
pub(crate) const BUGS: [Bug; 20] = [
    Bug::None,
    Bug::ShiftsIndexes,
    Bug::ForgetsTheLast,
    Bug::RefusesNeighbours,
    Bug::SendsWithoutAConnection,
    Bug::TakesALostReplyForARefusal,
    Bug::TakesSilenceForConsent,
    Bug::ReportsNothingOfRefusals,
    Bug::HidesDuplicates,
    Bug::ForgetsTheOrigin,
    Bug::LowersHeaders,
    Bug::SortsHeaders,
    Bug::InventsAContentType,
    Bug::LowersTopics,
    Bug::InventsKeys,
    Bug::EndsAtZero,
    Bug::BreaksWhenDropped,
    Bug::WritesProbes,
    Bug::Boasts,
    Bug::ShowsPayloads,
];

#[async_trait]
impl<const BUG: usize> Harness for Linked<BUG> {
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
            bug: BUGS[BUG],
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
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
        let log = self.0.broker.read(0, usize::MAX);
        log.iter().map(|one| Stored::of(&one.message)).collect()
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
