//! The inbox: where deliveries are stored and handled.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{
    Delivery, HandlerName, InboxBuilder, Received, Router, SourceName, Subscription, feed::Feed,
    router::Route,
};
use crate::{
    Error, Result, dispatch::Settings, message::IdSource, observer::Observer, store::Receive,
};

/// Stores deliveries once and has them handled. Clones are the same inbox.
///
/// Any number may run, in any number of processes: the work on each handler is shared among those
/// that have it.
pub struct Inbox<S> {
    pub(super) parts: Arc<Parts<S>>,
}

pub(super) struct Parts<S> {
    pub(super) store: S,
    pub(super) feeds: Vec<Feed<S>>,
    pub(super) max_backlog: u32,
    pub(super) handlers: BTreeMap<HandlerName, Route<S>>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) settings: Settings,
    pub(super) retention: Duration,
    pub(super) horizon: Duration,
    pub(super) unrouted: Duration,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl<S: Receive> Inbox<S> {
    /// The most deliveries of one call.
    pub const BATCH_MAX: usize = 10_000;

    /// Starts to build an inbox in `store` with the handlers of `router`.
    pub fn builder(store: S, router: Router<S>) -> InboxBuilder<S> {
        InboxBuilder::new(store, router)
    }

    pub(super) fn from_parts(parts: Parts<S>) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Registers the subscriptions of this program's handlers, and returns when they hold: from then
    /// on every message that anybody receives is for them too, and what was kept as unrouted.
    ///
    /// [`run`](Self::run) does so first. May be repeated.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the store was not migrated.
    pub async fn subscribe(&self) -> Result<()> {
        let parts = &self.parts;
        parts.store.subscribe(&parts.subscriptions).await
    }

    /// Stores one delivery, or many, and returns when they are committed: ack them now. See
    /// [`Receive::receive`].
    ///
    /// The store's subscriptions decide who handles a message, not this program's router: call
    /// [`subscribe`](Self::subscribe) or [`run`](Self::run) first, or it is kept as unrouted until
    /// somebody does.
    ///
    /// A future that is dropped leaves the deliveries stored or not stored, as a whole: do not ack
    /// them, they will arrive again.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a delivery that breaks a bound, or more than
    /// [`BATCH_MAX`](Self::BATCH_MAX) of them: nothing was stored.
    pub async fn receive(
        &self,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        Self::check(deliveries)?;
        self.parts.store.receive(source, deliveries).await
    }

    /// Stores deliveries in the caller's transaction. See [`Receive::receive_in`].
    ///
    /// # Errors
    /// As for [`receive`](Self::receive); [`Conflict`](crate::ErrorKind::Conflict) when the database
    /// asks to run the transaction again.
    pub async fn receive_in(
        &self,
        tx: &mut S::Tx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        Self::check(deliveries)?;
        self.parts.store.receive_in(tx, source, deliveries).await
    }

    /// The names of this program's handlers.
    pub fn handlers(&self) -> impl Iterator<Item = &HandlerName> {
        self.parts.handlers.keys()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.parts.store
    }

    fn check(deliveries: &[Delivery]) -> Result<()> {
        let (count, most) = (deliveries.len(), Self::BATCH_MAX);
        if count > most {
            return Err(Error::invalid(format!(
                "receive was given {count} deliveries; at most {most} are allowed in one call"
            )));
        }
        Ok(())
    }
}

impl<S> Clone for Inbox<S> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("store", &self.parts.store)
            .field("subscriptions", &self.parts.subscriptions)
            .finish_non_exhaustive()
    }
}
