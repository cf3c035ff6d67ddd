//! Faults for tests of your own: stores, publishers, sources and brokers that fail as real ones do, and
//! processes that die at a point of your choice.
//!
//! Wrap what the program under test gets, and keep what is inside to look at. [`Faults`] is the handle
//! by which a test says what goes wrong: by chance from a [seed](Faults::seeded), by
//! [script](Faults::then), or until it is [mended](Faults::cut). Every seed is repeatable, and the number of
//! faults is bounded, so that a test ends.
//!
//! | fault | a store, a source | a publisher |
//! |---|---|---|
//! | [`Before`](Fault::Before) | nothing happens, `Unavailable` | not sent, `Unavailable` |
//! | [`After`](Fault::After) | it happens, `Unavailable` | sent, `Unknown`: the ack is dropped |
//! | [`Delay`](Fault::Delay) | it happens later | it is sent later |
//! | [`Twice`](Fault::Twice) | the call arrives twice; deliveries come twice | sent twice |
//! | [`Reorder`](Fault::Reorder) | deliveries come in another order across keys | sent in another order |
//! | [`cut`](Faults::cut) | calls under way lose their reply, later ones never arrive | the same |
//!
//! # A relay that dies
//!
//! Whoever is behind the wrappers is a process: at its [crash point](CrashPoint) it stops for ever. Nothing
//! that it still does takes effect, also not after [`restart`](Faults::restart), which begins the next one.
//!
//! ```
//! use std::time::Duration;
//!
//! use iobox_core::{
//!     Outbox, Relay, memory::{MemoryBroker, MemoryStore}, message::Message, partition::Partitions,
//! };
//! use iobox_testkit::fault::{CrashPoint, Faults};
//!
//! # #[tokio::main]
//! # async fn main() -> iobox_core::Result<()> {
//! let (store, broker) = (MemoryStore::new(Partitions::DEFAULT), MemoryBroker::new());
//! let mut tx = store.begin();
//! let draft = Message::draft("orders.created", "42");
//! Outbox::new(store.clone()).enqueue(&mut tx, draft).await?;
//! tx.commit()?;
//!
//! // The broker has the message and said so; the relay dies before it can write that down.
//! let faults = Faults::none();
//! faults.crash_at(CrashPoint::Acked);
//! let relay = Relay::builder(faults.store(store.clone()), faults.publisher(broker.clone()));
//! let dead = relay.build()?.spawn();
//! faults.crashed().await;
//! assert_eq!(broker.len(), 1);
//!
//! // Its lease runs out, and the next process sends again: the broker knows the message.
//! store.clock().advance(Duration::from_secs(60));
//! faults.restart();
//! let relay = Relay::builder(faults.store(store.clone()), faults.publisher(broker.clone()));
//! let relay = relay.build()?.spawn();
//! relay.wait_until_empty(Duration::from_secs(10)).await?;
//! relay.drain().await?;
//! assert_eq!(broker.len(), 1);
//! # drop(dead);
//! # Ok(())
//! # }
//! ```
//!
//! # A handler that gets everything twice, in another order
//!
//! ```
//! use iobox_core::{message::Message, publisher::{Outcomes, Publisher}};
//! use iobox_testkit::fault::{Faults, UnreliableBroker};
//!
//! # #[tokio::main]
//! # async fn main() -> iobox_core::Result<()> {
//! let faults = Faults::seeded(7).twice(0.5).reorder(0.5).at_most(100);
//! let broker = UnreliableBroker::new(&faults);
//! # let origin = iobox_core::message::Origin::FOREIGN;
//! # let headers = iobox_core::message::Headers::new();
//! # let messages: Vec<Message> = (0..10).map(|n| Message::new(
//! #     origin, iobox_core::message::MessageId::new(format!("m{n}")).unwrap(),
//! #     iobox_core::message::Topic::new("orders").unwrap(), None, headers.clone(), "{}".into(),
//! # )).collect();
//! let mut outcomes = Outcomes::new(messages.len(), |_, _| {});
//! broker.publish(&messages, &mut outcomes).await;
//! // Whatever arrives is for `Inbox::receive`, or for a consumer of your own.
//! let arrivals = broker.log().read(0, 100);
//! assert!(arrivals.len() > 10, "some came twice");
//! # Ok(())
//! # }
//! ```

mod broker;
mod crash;
mod inbox;
mod plan;
mod publisher;
mod source;
mod store;

pub use broker::UnreliableBroker;
pub use crash::CrashPoint;
pub use plan::{Counts, Fault, Faults};
pub use publisher::FaultyPublisher;
pub use source::FaultySource;
pub use store::FaultyStore;
