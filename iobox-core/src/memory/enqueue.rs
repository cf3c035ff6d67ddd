//! Transactions and enqueueing of the in-memory store.

use std::fmt;

use async_trait::async_trait;

use super::{MemoryStore, inbox::Mark, row::Row};
use crate::{
    Error, ErrorKind, Result,
    inbox::{Delivery, SourceName},
    message::Draft,
    store::{Enqueue, Enqueued, Seq, Settled, Settlement},
};

/// A transaction of a [`MemoryStore`]: what it enqueued exists once it is committed, and never if
/// it is dropped.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct MemoryTx {
    store: MemoryStore,
    rows: Vec<(Row, bool)>,
    pub(super) deliveries: Vec<(SourceName, Delivery)>,
    pub(super) marks: Vec<Mark>,
    /// The row that a handler handled in this transaction, and the queue that it is of.
    pub(super) success: Option<(MemoryStore, Settlement)>,
}

impl MemoryStore {
    /// Opens a transaction. Several may be open at once; the one that commits later may hold lower
    /// seqs.
    pub fn begin(&self) -> MemoryTx {
        MemoryTx {
            store: self.clone(),
            rows: Vec::new(),
            deliveries: Vec::new(),
            marks: Vec::new(),
            success: None,
        }
    }
}

impl MemoryTx {
    /// Makes the messages of this transaction visible.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when another transaction committed one of the callers' ids
    /// meanwhile, and [`LeaseLost`](ErrorKind::LeaseLost) when the mark of a handler does not hold any
    /// more; nothing is committed.
    pub fn commit(self) -> Result<()> {
        let now = self.store.now();
        let mut room = self.store.mailroom();
        if room.collides(&self.deliveries, &self.marks) {
            return Err(collided());
        }
        // The mailroom before the table of a queue before the table of the outbox.
        let mut handled = self
            .success
            .as_ref()
            .map(|(queue, success)| (queue.table(), success));
        if let Some((queue, success)) = &handled
            && queue.would_settle(success) != Settled::Applied
        {
            return Err(Error::new(
                ErrorKind::LeaseLost,
                "the lease was lost, or the row has changed, before the commit",
            ));
        }
        let mut table = self.store.table();
        let taken =
            |(row, checked): &(Row, bool)| *checked && table.place_of(row.message.id()).is_some();
        if self.rows.iter().any(taken) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "another transaction committed a message with the same id; run the transaction again",
            ));
        }
        for (row, _) in self.rows {
            table.insert(row);
        }
        drop(table);
        if let Some((queue, success)) = &mut handled {
            let place = (success.partition, success.seq);
            queue.change(place, |row| row.settle(success, now));
        }
        drop(handled);
        room.store(&self.store, self.deliveries, self.marks, None);
        Ok(())
    }

    /// Forgets the messages of this transaction.
    pub fn rollback(self) {}
}

/// What a transaction gets that stores what another one stored meanwhile.
pub(super) fn collided() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "another transaction stored the same message; run the transaction again",
    )
}

impl fmt::Debug for MemoryTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx")
            .field("messages", &self.rows.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Enqueue for MemoryStore {
    type Tx = MemoryTx;

    async fn enqueue(&self, tx: &mut MemoryTx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        let shared = &self.shared;
        let sealed = drafts
            .iter()
            .map(|draft| draft.seal(shared.origin, shared.limits, shared.ids.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let now = self.now();
        let mut table = self.table();
        let mut results = Vec::with_capacity(sealed.len());
        for sealed in sealed {
            let id = sealed.message.id().clone();
            let own = |(row, _): &(Row, bool)| *row.message.id() == id;
            if !sealed.generated && (table.place_of(&id).is_some() || tx.rows.iter().any(own)) {
                results.push(Enqueued::Duplicate(id));
                continue;
            }
            table.next_seq += 1;
            let row = Row::new(
                shared.partitions.of_message(&sealed.message),
                Seq(table.next_seq),
                sealed.message,
                now,
            );
            tx.rows.push((row, !sealed.generated));
            results.push(Enqueued::New(id));
        }
        drop(table);
        shared.signal.enqueued();
        Ok(results)
    }
}
