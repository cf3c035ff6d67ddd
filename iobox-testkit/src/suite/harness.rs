//! The harness: what an adapter writes so that the suite can drive its store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Draft, MessageId},
    partition::Partitions,
    store::{Admin, Enqueue, Enqueued},
};

/// A store under test, and the handles on it that an application does not have.
///
/// Each case makes one harness and uses it alone; cases run at the same time, so that two harnesses
/// must share nothing. What a case leaves behind is dropped with the harness, inside of a tokio
/// runtime with several threads.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// The store.
    type Store: Enqueue + Admin;
    /// A transaction of an application.
    type Open: OpenTransaction;

    /// Whether several transactions that write may be open at the same time.
    ///
    /// Where it is `false` a second [`begin`](Self::begin) must wait or be refused with
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) or
    /// [`Conflict`](iobox_core::ErrorKind::Conflict) while another is open; the cases check that
    /// instead, and call nothing else while a transaction is open.
    const CONCURRENT_WRITERS: bool;

    /// Whether there can be tables that a program must refuse to open; [`misfit`](Self::misfit) makes
    /// them then.
    const REFUSES_MISFITS: bool = true;

    /// What to call the adapter in its [guarantee sheet](crate::sheet::Sheet), with how it is set up
    /// where that differs; `None` for no sheet.
    #[must_use]
    fn adapter() -> Option<String> {
        None
    }

    /// The server that the cases run against, with its version, for the sheet.
    #[must_use]
    async fn server() -> Option<String> {
        None
    }

    /// A new, empty, migrated store with the default [limits](iobox_core::message::Limits).
    async fn fresh(partitions: Partitions) -> Self;

    /// The store.
    fn store(&self) -> &Arc<Self::Store>;

    /// Another handle on the same tables and the same clock, with connections of its own, as a
    /// second process would have it. A store that lives in memory returns the same one.
    async fn another(&self) -> Arc<Self::Store>;

    /// Opens a transaction, the way an application does.
    async fn begin(&self) -> Result<Self::Open>;

    /// Shifts the clock of the store forward, for every handle on it.
    async fn advance(&self, by: Duration);

    /// Spoils the stored row of a message so that it cannot be decoded (its topic becomes `a b`,
    /// for example), but leaves its state, key and seq as they are.
    async fn corrupt(&self, id: &MessageId);

    /// A handle on tables that a program must refuse to open, or `None` where such tables cannot
    /// exist, as [`REFUSES_MISFITS`](Self::REFUSES_MISFITS) says.
    async fn misfit(misfit: Misfit) -> Option<Arc<Self::Store>>;
}

/// A transaction of an application. Dropping it rolls back.
#[async_trait]
pub trait OpenTransaction: Send + Sized + 'static {
    /// Enqueues in it, through [`Enqueue::enqueue`].
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>>;

    /// Commits; the messages exist when this returns without an error.
    async fn commit(self) -> Result<()>;

    /// Rolls back.
    async fn rollback(self) -> Result<()>;
}

/// Why tables do not fit the program that opens them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Nobody has migrated: the tables are not there.
    NotMigrated,
    /// A program newer than this one has migrated.
    Newer,
    /// They were made with another number of partitions than the program is configured with.
    Partitions {
        /// What they were made with.
        made: Partitions,
        /// What the program is configured with.
        configured: Partitions,
    },
}
