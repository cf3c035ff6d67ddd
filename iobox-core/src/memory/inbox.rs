//! The inbox half of the in-memory store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{MemoryStore, MemoryTx, row::Row};
use crate::{
    Error, ErrorKind, Result,
    dispatch::Bug,
    inbox::{Delivery, HandlerName, Received, SourceName, Subscription},
    message::{Message, MessageId, Origin, Topic},
    partition::Partition,
    queue::Queue,
    source::Position,
    store::{Admitted, Receive, Seq, Settled, Settlement, Subscribe, Transact},
};

/// What a message is known by.
pub(super) type Known = (SourceName, Origin, MessageId);
/// What a mark without a message is known by.
pub(super) type Mark = (SourceName, HandlerName, Origin, MessageId);

/// A message that was received.
#[derive(Debug)]
struct Arrival {
    seq: Seq,
    partition: Partition,
    at: Duration,
    /// The message, as long as nobody is subscribed to it.
    unrouted: Option<Message>,
}

/// Subscriptions, the queues of handlers, and what was received. Locked before any table.
#[derive(Debug, Default)]
pub(super) struct Mailroom {
    subscriptions: BTreeSet<Subscription>,
    queues: BTreeMap<HandlerName, MemoryStore>,
    pub(super) sources: BTreeMap<SourceName, MemoryStore>,
    pub(super) positions: BTreeMap<SourceName, Position>,
    arrivals: HashMap<Known, Arrival>,
    marks: HashMap<Mark, Duration>,
    next_seq: i64,
}

impl Mailroom {
    pub(super) fn handlers_of(&self, message: &Message) -> Vec<HandlerName> {
        let all: Vec<_> = self.subscriptions.iter().cloned().collect();
        Subscription::handlers_of(&all, message.topic())
    }

    fn give(&self, handlers: &[HandlerName], row: &Row) {
        for queue in handlers.iter().filter_map(|name| self.queues.get(name)) {
            queue.table().insert(row.clone());
            queue.shared.signal.wake();
        }
    }

    /// Whether `tx` would store something that another transaction stored meanwhile.
    pub(super) fn collides(&self, deliveries: &[(SourceName, Delivery)], marks: &[Mark]) -> bool {
        let known = |(source, one): &(SourceName, Delivery)| {
            self.arrivals.contains_key(&known(source, one.message()))
        };
        deliveries.iter().any(known) || marks.iter().any(|mark| self.marks.contains_key(mark))
    }

    /// Stores what a transaction received and marked. `routes` are those of before, where a planted
    /// bug goes by them.
    pub(super) fn store(
        &mut self,
        store: &MemoryStore,
        deliveries: Vec<(SourceName, Delivery)>,
        marks: Vec<Mark>,
        routes: Option<&BTreeMap<Topic, Vec<HandlerName>>>,
    ) {
        let now = store.now();
        for (source, delivery) in deliveries {
            let message = delivery.message();
            self.next_seq += 1;
            let seq = Seq(self.next_seq);
            let partition = store.shared.partitions.of_message(message);
            let handlers = match routes {
                Some(routes) => routes.get(message.topic()).cloned().unwrap_or_default(),
                None => self.handlers_of(message),
            };
            let unrouted = handlers.is_empty().then(|| message.clone());
            self.give(&handlers, &Row::new(partition, seq, message.clone(), now));
            let arrival = Arrival {
                seq,
                partition,
                at: now,
                unrouted,
            };
            self.arrivals.insert(known(&source, message), arrival);
        }
        self.marks.extend(marks.into_iter().map(|mark| (mark, now)));
    }
}

fn known(source: &SourceName, message: &Message) -> Known {
    (source.clone(), message.origin(), message.id().clone())
}

impl MemoryStore {
    pub(super) fn mailroom(&self) -> MutexGuard<'_, Mailroom> {
        self.shared
            .mailroom
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Subscribe for MemoryStore {
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        let mut room = self.mailroom();
        for one in subscriptions {
            let queue = || {
                let queue = Queue::Inbox(one.handler.clone());
                self.another(queue, self.shared.partitions)
            };
            let name = one.handler.clone();
            room.queues.entry(name).or_insert_with(queue);
            room.subscriptions.insert(one.clone());
        }
        let mut kept: Vec<_> = room
            .arrivals
            .iter()
            .filter_map(|(known, arrival)| {
                Some((arrival.seq, known.clone(), arrival.unrouted.clone()?))
            })
            .collect();
        kept.sort_unstable_by_key(|(seq, ..)| *seq);
        for (_, known, message) in kept {
            let handlers = room.handlers_of(&message);
            if handlers.is_empty() {
                continue;
            }
            let Some(arrival) = room.arrivals.get_mut(&known) else {
                continue;
            };
            arrival.unrouted = None;
            let row = Row::new(arrival.partition, arrival.seq, message, arrival.at);
            room.give(&handlers, &row);
        }
        Ok(())
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        let mut room = self.mailroom();
        let before = room.subscriptions.len();
        room.subscriptions.retain(|one| one.handler != *handler);
        Ok(room.subscriptions.len() < before)
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        Ok(self.mailroom().subscriptions.iter().cloned().collect())
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        let room = self.mailroom();
        room.queues.get(handler).cloned().ok_or_else(|| {
            Error::invalid(format!(
                "handler {handler} was never subscribed; subscribe it"
            ))
        })
    }
}

#[async_trait]
impl Receive for MemoryStore {
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        loop {
            let mut tx = self.begin();
            let received = self.receive_in(&mut tx, source, deliveries).await?;
            match tx.commit() {
                Ok(()) => return Ok(received),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive_in(
        &self,
        tx: &mut MemoryTx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        for delivery in deliveries {
            delivery.check(self.shared.limits)?;
        }
        let room = self.mailroom();
        let mut results = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let this = known(source, delivery.message());
            let own =
                |(source, other): &(SourceName, Delivery)| known(source, other.message()) == this;
            if room.arrivals.contains_key(&this) || tx.deliveries.iter().any(own) {
                results.push(Received::Duplicate);
                continue;
            }
            let handlers = room.handlers_of(delivery.message()).len();
            tx.deliveries.push((source.clone(), delivery.clone()));
            results.push(Received::New { handlers });
        }
        Ok(results)
    }

    async fn unrouted(&self) -> Result<u64> {
        let room = self.mailroom();
        let unrouted = room.arrivals.values().filter(|one| one.unrouted.is_some());
        Ok(u64::try_from(unrouted.count()).unwrap_or(u64::MAX))
    }

    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64> {
        let now = self.now();
        let mut room = self.mailroom();
        let handled = |one: &Arrival| {
            let place = (one.partition, one.seq);
            room.queues
                .values()
                .all(|queue| queue.table().get(place).is_none())
        };
        let mut old: Vec<_> = room
            .arrivals
            .iter()
            .filter(|(_, one)| match &one.unrouted {
                Some(_) => one.at.saturating_add(unrouted) < now,
                None => one.at.saturating_add(horizon) < now && handled(one),
            })
            .map(|(known, one)| (one.seq, known.clone()))
            .collect();
        old.sort_unstable_by_key(|(seq, _)| *seq);
        old.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for (_, known) in &old {
            room.arrivals.remove(known);
        }
        room.marks.retain(|_, at| at.saturating_add(horizon) >= now);
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl Transact for MemoryStore {
    type Open = Box<MemoryTx>;

    async fn begin_handling(&self) -> Result<Box<MemoryTx>> {
        Ok(Box::new(self.begin()))
    }

    /// The mark is checked here and again at the commit, which fails with
    /// [`LeaseLost`](ErrorKind::LeaseLost) when it does not hold any more. A transaction holds one.
    async fn mark(&self, tx: &mut MemoryTx, queue: &Self, success: &Settlement) -> Result<Settled> {
        if tx.success.is_some() {
            return Err(Error::invalid("the transaction holds a mark already"));
        }
        let mut table = queue.table();
        let settled = table.would_settle(success);
        if table.has(Bug::MarkOutsideTransaction) {
            let (place, now) = ((success.partition, success.seq), queue.now());
            if settled == Settled::Applied {
                table.change(place, |row| row.settle(success, now));
            }
            return Ok(settled);
        }
        drop(table);
        if settled == Settled::Applied {
            tx.success = Some((queue.clone(), success.clone()));
        }
        Ok(settled)
    }

    async fn commit_handling(&self, open: Box<MemoryTx>) -> Result<()> {
        open.commit()
    }

    async fn admit(
        &self,
        tx: &mut MemoryTx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        let mark = (source.clone(), handler.clone(), origin, id.clone());
        if self.mailroom().marks.contains_key(&mark) || tx.marks.contains(&mark) {
            return Ok(Admitted::Duplicate);
        }
        tx.marks.push(mark);
        Ok(Admitted::Fresh)
    }
}
