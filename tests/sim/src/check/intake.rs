//! The checker of what lies between the broker's log and the queues of the handlers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iobox_core::store::Epoch;

use super::known::{Violation, broken};
use crate::{
    history::{Event, Id},
    plan::{Mode, Plan},
    world::World,
};

/// An entry of the log.
#[derive(Debug, Clone)]
struct Logged {
    id: Id,
    key: Option<String>,
    topic: String,
}

/// A row that a handler must have.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) handler: u8,
    pub(super) id: Id,
    pub(super) key: Option<String>,
    /// Whether it had one before, and its mark was forgotten since.
    pub(super) again: bool,
}

/// What is known of the stream as far as the history was read.
pub(super) struct Intake<'a> {
    plan: &'a Plan,
    log: Vec<Logged>,
    /// How far the log is stored, as an offset.
    position: usize,
    subscribed: BTreeSet<u8>,
    /// When each message was stored last, by the store's clock.
    stored: BTreeMap<Id, Duration>,
    unrouted: Vec<Logged>,
    /// Which handlers were given which messages so far.
    given: BTreeSet<(u8, Id)>,
    /// How many are kept as unrouted, as the store says at the end.
    kept: Option<u64>,
}

impl<'a> Intake<'a> {
    pub(super) const fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            log: Vec::new(),
            position: 0,
            subscribed: BTreeSet::new(),
            stored: BTreeMap::new(),
            unrouted: Vec::new(),
            given: BTreeSet::new(),
            kept: None,
        }
    }

    /// Takes an event of the stream, and says which rows must be there from then on.
    pub(super) fn see(
        &mut self,
        event: &Event,
        current: Option<Epoch>,
    ) -> Result<Vec<Row>, Violation> {
        match event {
            Event::Logged { id, key, topic } => self.log.push(Logged {
                id: id.clone(),
                key: key.clone(),
                topic: topic.clone(),
            }),
            Event::Subscribed { handlers } => return Ok(self.subscribed(handlers)),
            Event::Stored { .. } => return self.stored(event, current),
            Event::BrokerAcked { upto } if *upto > self.position => {
                let detail = format!("{upto} entries are acked, {} are stored", self.position);
                broken("G9 acked after the commit", detail)?;
            }
            Event::Unrouted { count } => self.kept = Some(*count),
            _ => {}
        }
        Ok(Vec::new())
    }

    fn wanted_by(&self, topic: &str) -> Vec<u8> {
        let wants = |number: &&u8| {
            let handler = self.plan.handlers.get(usize::from(**number));
            handler.is_some_and(|handler| handler.wants(topic))
        };
        self.subscribed.iter().filter(wants).copied().collect()
    }

    fn subscribed(&mut self, handlers: &[u8]) -> Vec<Row> {
        self.subscribed.extend(handlers);
        let kept = std::mem::take(&mut self.unrouted);
        let mut rows = Vec::new();
        for message in kept {
            let handlers = self.wanted_by(&message.topic);
            if handlers.is_empty() {
                self.unrouted.push(message);
                continue;
            }
            self.give(&message, handlers, &mut rows);
        }
        rows
    }

    /// Each of the handlers must have a row of the message; one that was subscribed since it was stored
    /// before has its first.
    fn give(&mut self, message: &Logged, handlers: Vec<u8>, rows: &mut Vec<Row>) {
        rows.extend(handlers.into_iter().map(|handler| Row {
            handler,
            id: message.id.clone(),
            key: message.key.clone(),
            again: !self.given.insert((handler, message.id.clone())),
        }));
    }

    fn stored(&mut self, event: &Event, current: Option<Epoch>) -> Result<Vec<Row>, Violation> {
        let Event::Stored {
            process,
            epoch,
            from,
            to,
            arrivals,
            now,
        } = event
        else {
            return Ok(Vec::new());
        };
        if current != Some(*epoch) {
            let detail =
                format!("process {process} stored a batch under {epoch:?}, not {current:?}");
            broken("G5 fencing of a source", detail)?;
        }
        if *from != self.position || to < from {
            let detail = format!("from {from} to {to}, and it stood at {}", self.position);
            broken("G9 the position never goes back", detail)?;
        }
        let entries = self.log.get(*from..*to).unwrap_or_default().to_vec();
        let read = arrivals.iter().map(|(id, _)| id);
        if !read.eq(entries.iter().map(|entry| &entry.id)) {
            let detail = format!("between {from} and {to} of the log something else was stored");
            broken("G2 all of the log is stored, in order", detail)?;
        }
        self.position = *to;
        let mut rows = Vec::new();
        for (entry, (id, new)) in entries.into_iter().zip(arrivals) {
            let before = self.stored.get(id).copied();
            let known = before.is_some_and(|at| *now <= at + World::HORIZON);
            if known && *new {
                broken("G8 a message is stored once", format!("{id} is new again"))?;
            }
            if before.is_none() && !*new {
                broken("G2 nothing is lost", format!("{id} is taken for known"))?;
            }
            if !*new {
                continue;
            }
            self.stored.insert(id.clone(), *now);
            let handlers = self.wanted_by(&entry.topic);
            if handlers.is_empty() {
                self.unrouted.push(entry.clone());
            }
            self.give(&entry, handlers, &mut rows);
        }
        Ok(rows)
    }

    /// What must hold at the end.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        if self.plan.mode == Mode::Outbox {
            return Ok(());
        }
        if self.position != self.log.len() {
            let detail = format!("{} of {} entries are stored", self.position, self.log.len());
            broken("G14 the log is read to its end", detail)?;
        }
        let unrouted = u64::try_from(self.unrouted.len()).unwrap_or(u64::MAX);
        if self.kept != Some(unrouted) {
            let detail = format!("{:?} are kept, {unrouted} must be", self.kept);
            broken("G2 unrouted messages are kept", detail)?;
        }
        Ok(())
    }
}
