//! The inbox half of a store: subscriptions, receiving, and handling in a transaction.

use std::{ops::DerefMut, time::Duration};

use async_trait::async_trait;

use super::{Admin, Enqueue, Settled, Settlement};
use crate::{
    Result,
    inbox::{Delivery, HandlerName, Received, SourceName, Subscription},
    message::{MessageId, Origin},
};

/// A store with subscriptions, which are rows: a message that is received is for every handler that
/// is subscribed in the store, whichever program receives it.
#[async_trait]
pub trait Subscribe: Enqueue + Admin + Clone {
    /// Adds subscriptions; those that are there stay as they are. Messages that are kept as
    /// unrouted and match one are given to its handler, under their old seqs, before this returns.
    ///
    /// Holds every reception up until it is over, so that no message falls between the subscription
    /// and what was kept: it is in one or the other.
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()>;

    /// Removes the subscriptions of a handler, for ever, and returns whether there were any. Nothing
    /// that is received later is for it. Its rows stay: whoever runs it may finish them, or they are
    /// [discarded](Admin::discard).
    async fn retire(&self, handler: &HandlerName) -> Result<bool>;

    /// The subscriptions, in order.
    async fn subscriptions(&self) -> Result<Vec<Subscription>>;

    /// The store of the queue of one handler, which must be or have been subscribed: fetching,
    /// settling, leases and administration of its rows.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a handler that was never subscribed.
    async fn queue_of(&self, handler: &HandlerName) -> Result<Self>;
}

/// A store that takes deliveries.
#[async_trait]
pub trait Receive: Subscribe {
    /// Stores deliveries in one transaction of the store's own, and returns when it is committed: a
    /// message once, and one row for each handler that is subscribed to its topic. The results stand
    /// in the order of the deliveries.
    ///
    /// A message is known by source, origin and id. One that is stored already is a duplicate, and
    /// gets no row for handlers that were subscribed since. One that nobody is subscribed to is kept
    /// as unrouted.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a delivery that breaks a bound: nothing was stored.
    /// After [`Unavailable`](crate::ErrorKind::Unavailable) the deliveries may be stored or not:
    /// repeat the call.
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>>;

    /// Does the same in the caller's transaction: the messages are stored if and only if it commits.
    ///
    /// A future that is dropped leaves the transaction in a state in which only a rollback is sound.
    ///
    /// # Errors
    /// As above; [`Conflict`](crate::ErrorKind::Conflict) when the database asks to run the
    /// transaction again.
    async fn receive_in(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>>;

    /// How many messages are kept as unrouted.
    async fn unrouted(&self) -> Result<u64>;

    /// Forgets messages, at most `limit`, and returns how many: those that were received longer ago
    /// than `horizon` and of which no handler has a row any more, and those that are unrouted for
    /// longer than `unrouted`. What is forgotten is stored again when it arrives again. A store with marks
    /// of its own forgets, besides, as many of those that are older than `horizon`, and counts them too: call
    /// it again as long as it returns `limit` or more.
    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64>;
}

/// A store whose transactions can hold the effects of a handler and the mark that it handled.
#[async_trait]
pub trait Transact: Receive {
    /// An open transaction; dropping it rolls back.
    type Open: DerefMut<Target = Self::Tx> + Send;

    /// Opens a transaction for a handler.
    async fn begin_handling(&self) -> Result<Self::Open>;

    /// Records `success`, a settlement of a row of `queue`, in the transaction: fenced by the epoch and
    /// guarded by the revision. From here to the COMMIT nobody can take the partition.
    ///
    /// Unless it is [`Applied`](Settled::Applied) the transaction must be rolled back.
    async fn mark(&self, tx: &mut Self::Tx, queue: &Self, success: &Settlement) -> Result<Settled>;

    /// Commits.
    async fn commit_handling(&self, open: Self::Open) -> Result<()>;

    /// Does both, for a transaction that holds nothing but the effects of a handler: records `success`
    /// as [`mark`](Self::mark) does, and commits when it is [`Applied`](Settled::Applied). Rolls back
    /// otherwise.
    ///
    /// After an error the transaction may be committed or not; what became of the row says which.
    async fn mark_and_commit(
        &self,
        mut open: Self::Open,
        queue: &Self,
        success: &Settlement,
    ) -> Result<Settled> {
        let settled = self.mark(&mut open, queue, success).await?;
        if settled == Settled::Applied {
            self.commit_handling(open).await?;
        }
        Ok(settled)
    }

    /// Marks in the caller's transaction that `handler` handled a message, for those who have a
    /// consumer of their own and want nothing but the mark.
    ///
    /// A mark is kept as long as a message that was received. A second transaction with the same
    /// mark waits for the first to end.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when the database asks to run the transaction again.
    async fn admit(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted>;
}

/// Whether a handler may go on with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admitted {
    /// It is marked now: handle it in this transaction.
    Fresh,
    /// It was handled before: do nothing.
    Duplicate,
}
