//! The drivers: what runs against each server.

mod brokered;
mod effect;
mod jetstream;
mod pace;
mod postgres;
mod redis;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use iobox::{message::Draft, store::Stats};

pub(crate) use self::pace::{BATCH, IN_FLIGHT};
pub use self::{brokered::Brokered, jetstream::JetStream, postgres::Postgres, redis::Redis};
use crate::{gate::Gate, ledger::Seen};

/// An application that writes messages.
#[async_trait]
pub(crate) trait Application: fmt::Debug + Send + Sync {
    /// Writes messages in one transaction. Returns whether it was confirmed; else it may be committed
    /// or not.
    async fn write(&self, drafts: &[Draft]) -> bool;
}

/// An outbox, a relay, a broker and an inbox, one of which is behind a cable.
#[allow(private_interfaces, reason = "it is implemented here alone")]
#[async_trait]
pub trait Net: Send + Sync + Sized {
    /// Starts everything, on tables and streams of its own.
    async fn start() -> Self;

    /// Who writes.
    fn application(&self) -> Arc<dyn Application>;

    /// Where calls to the server pass.
    fn gate(&self) -> &Arc<Gate>;

    /// How many messages had their effect. Not asked for through the cable.
    async fn handled(&self) -> usize;

    /// What is under way, if anything is. Not asked for through the cable.
    async fn under_way(&self) -> Option<String>;

    /// Stops everything, in good order, and looks at what there is.
    async fn end(self) -> Seen;
}

/// What is under way of so many messages, as the statistics of outbox and handler say, and their effects.
fn under_way(
    out: &Stats,
    handling: Option<&Stats>,
    handled: usize,
    written: usize,
) -> Option<String> {
    let left = |stats: &Stats| stats.unsettled() + stats.dead;
    let is_drained = left(out) == 0 && handling.is_none_or(|stats| left(stats) == 0);
    (!is_drained || handled < written).then(|| {
        let say = |stats: &Stats| {
            let Stats {
                pending,
                retrying,
                waiting,
                dead,
                ..
            } = stats;
            format!("{pending} pending, {retrying} retrying, {waiting} waiting, {dead} dead")
        };
        format!(
            "{handled} of {written} messages handled; outbox: {}; inbox: {}",
            say(out),
            handling.map_or_else(String::new, say)
        )
    })
}
