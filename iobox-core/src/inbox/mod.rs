//! The inbox: messages that were received are stored once, and handled by every subscribed handler.
//!
//! [`Inbox::receive`] stores a [`Delivery`] and returns when it is committed: only then may the
//! caller ack it. Each handler whose [subscription](Subscription) matches the topic gets a row of its
//! own, with its own attempts, retries and dead letters. [`Inbox::run`] handles them with the same
//! [machine](crate::dispatch) that drives the relay, one for each handler.
//!
//! | file | holds |
//! |---|---|
//! | `name.rs`, `pattern.rs` | names of sources and handlers, patterns of topics |
//! | `delivery.rs`, `subscription.rs` | what arrives, and who gets it |
//! | `router.rs`, `policy.rs` | the handlers of this program and how each is run |
//! | `feed.rs`, `right.rs`, `ingest.rs`, `intake.rs`, `backlog.rs` | reading a source of a broker |
//! | `attempt.rs`, `rehearse.rs` | one execution of a handler, and one that is rolled back |
//! | `builder.rs`, `whole.rs`, `run.rs`, `handle.rs` | the inbox |

mod attempt;
mod backlog;
mod builder;
mod delivery;
mod feed;
mod handle;
mod ingest;
mod intake;
mod name;
mod pattern;
mod policy;
mod rehearse;
mod right;
mod router;
mod run;
mod subscription;
mod whole;

pub use attempt::{Attempt, Attempted};
pub use builder::InboxBuilder;
pub use delivery::{Delivery, Received};
pub use handle::InboxHandle;
pub use name::{HandlerName, SourceName};
pub use pattern::TopicPattern;
pub use policy::HandlerPolicy;
pub use rehearse::Rehearsed;
pub use router::{RouteMut, Router};
pub use subscription::Subscription;
pub use whole::Inbox;
