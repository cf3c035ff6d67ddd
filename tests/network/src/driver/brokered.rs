//! What runs against a broker: outbox and inbox in memory, and the broker between them behind a cable.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use iobox::{
    Inbox, Outbox, Relay, Router,
    inbox::{HandlerName, InboxHandle},
    memory::MemoryStore,
    message::Draft,
    partition::Partitions,
    publisher::Publisher,
    queue::Queue,
    relay::RelayHandle,
    source::Source,
    store::{Admin as _, Subscribe as _},
};
use iobox_testkit::servers::Cable;

use super::{
    Application, Net,
    effect::{HANDLER, InMemory, rows},
    pace, under_way,
};
use crate::{
    gate::Gate,
    gated::{GatedPublisher, GatedSource},
    ledger::{Accepted, Seen, Sends},
    load::TOPIC,
};

/// A stream of its own on a server that tests share.
#[async_trait]
pub(crate) trait Place: fmt::Debug + Send + Sync + Sized + 'static {
    type Publisher: Publisher + fmt::Debug;
    type Source: Source + fmt::Debug;
    /// Whether the broker keeps one copy of a message that is sent twice.
    const ABSORBS: bool;

    async fn fresh() -> Self;
    fn address(&self) -> SocketAddr;
    fn publisher(&self, at: SocketAddr) -> Self::Publisher;
    fn source(&self, at: SocketAddr) -> Self::Source;
    /// The stream, read past the cable and our own reader.
    async fn log(&self) -> Vec<Accepted>;
    async fn remove(self);
}

/// Outbox and inbox at a broker.
#[derive(Debug)]
#[allow(private_bounds, reason = "there are the two places of this crate")]
pub struct Brokered<P: Place> {
    place: P,
    gate: Arc<Gate>,
    outbox: MemoryStore,
    inbox: MemoryStore,
    sends: Arc<Sends>,
    relay: RelayHandle,
    reading: InboxHandle<MemoryStore>,
}

#[derive(Debug)]
struct Writer(MemoryStore);

#[async_trait]
impl Application for Writer {
    async fn write(&self, drafts: &[Draft]) -> bool {
        let outbox = Outbox::new(self.0.clone());
        let mut tx = self.0.begin();
        outbox.enqueue(&mut tx, drafts).await.expect("an enqueue");
        tx.commit().expect("a commit");
        outbox.wake();
        true
    }
}

fn queue() -> Queue {
    Queue::Inbox(HandlerName::new(HANDLER).expect("a name"))
}

#[allow(private_interfaces, reason = "it is used here alone")]
#[async_trait]
impl<P: Place> Net for Brokered<P> {
    async fn start() -> Self {
        let place = P::fresh().await;
        let cable = Cable::to(place.address()).await.expect("a cable");
        let at = cable.address();
        let gate = Arc::new(Gate::new(cable));
        let [outbox, inbox] = [(); 2].map(|()| MemoryStore::new(Partitions::DEFAULT));
        let sends = Arc::new(Sends::default());
        let publisher = GatedPublisher {
            inner: place.publisher(at),
            gate: Some(Arc::clone(&gate)),
            sends: Arc::clone(&sends),
        };
        let relay = pace::relay(Relay::builder(outbox.clone(), publisher));
        let relay = relay.build().expect("a relay").spawn();
        let source = GatedSource {
            inner: place.source(at),
            gate: Arc::clone(&gate),
        };
        let mut router = Router::new();
        let handler = InMemory(inbox.clone());
        router
            .on_tx(TOPIC, HANDLER, handler)
            .policy(pace::handler());
        let reading = pace::inbox(Inbox::builder(inbox.clone(), router)).source(source);
        let reading = reading.build().expect("an inbox");
        reading.subscribe().await.expect("subscriptions");
        let reading = reading.spawn();
        Self {
            place,
            gate,
            outbox,
            inbox,
            sends,
            relay,
            reading,
        }
    }

    fn application(&self) -> Arc<dyn Application> {
        Arc::new(Writer(self.outbox.clone()))
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    async fn handled(&self) -> usize {
        let effects = self.inbox.stats(&Queue::Outbox).await.expect("statistics");
        usize::try_from(effects.pending).expect("a count")
    }

    async fn under_way(&self) -> Option<String> {
        let out = self.outbox.stats(&Queue::Outbox).await.expect("statistics");
        let written = rows(&self.outbox, &Queue::Outbox).await.len();
        under_way(&out, None, self.handled().await, written)
    }

    async fn end(self) -> Seen {
        self.relay.drain().await.expect("a drain");
        self.reading.drain().await.expect("a drain");
        let name = HandlerName::new(HANDLER).expect("a name");
        let handler = self.inbox.queue_of(&name).await.expect("a queue");
        let mut effects = BTreeMap::new();
        for effect in rows(&self.inbox, &Queue::Outbox).await {
            *effects.entry(effect.topic).or_default() += 1;
        }
        let seen = Seen {
            outbox: rows(&self.outbox, &Queue::Outbox).await,
            inbox: rows(&handler, &queue()).await,
            log: self.place.log().await,
            effects,
            sends: self.sends.all(),
            handles_there: false,
            absorbs: P::ABSORBS,
        };
        self.place.remove().await;
        seen
    }
}
