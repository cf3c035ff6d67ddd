//! Enqueueing: writing messages in the caller's transaction.

use std::collections::HashSet;

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Draft, Message, MessageId, Sealed},
    queue::Queue,
    store::{Enqueue, Enqueued},
};
use sqlx::PgConnection;

use super::PostgresStore;
use crate::{error::from_sqlx, row::get};

/// The most rows of one insert.
const CHUNK_ROWS: usize = 1_000;
/// The most bytes of one insert, but for a single row that is larger.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;

#[async_trait]
impl Enqueue for PostgresStore {
    type Tx = PgConnection;

    /// Writes in whatever transaction or savepoint is open on `tx`; without one, each call is a
    /// transaction of its own only as long as it is one statement, so open one.
    ///
    /// At READ COMMITTED a caller's id that another open transaction has claimed is waited for. At
    /// REPEATABLE READ and SERIALIZABLE an id that was committed after the transaction's snapshot is
    /// reported as a [`Conflict`](iobox_core::ErrorKind::Conflict).
    async fn enqueue(&self, tx: &mut PgConnection, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.known(&Queue::Outbox)?;
        let info = self.info().await?;
        let sealed = drafts
            .iter()
            .map(|draft| draft.seal(info.origin, self.config.limits, self.config.ids.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let mut fresh = self.claim(tx, &sealed).await?;
        let mut messages = Vec::with_capacity(sealed.len());
        let mut results = Vec::with_capacity(sealed.len());
        for Sealed { message, generated } in &sealed {
            let id = message.id().clone();
            // An id that stands twice in the call is fresh the first time alone.
            if *generated || fresh.remove(id.as_str()) {
                messages.push(message);
                results.push(Enqueued::New(id));
            } else {
                results.push(Enqueued::Duplicate(id));
            }
        }
        for chunk in chunks(&messages) {
            self.insert(tx, chunk).await?;
        }
        self.signal.enqueued();
        Ok(results)
    }
}

impl PostgresStore {
    /// Enqueues like [`Enqueue::enqueue`], and first locks the ordering keys of `drafts` until the
    /// end of the transaction.
    ///
    /// Messages of a key are then published in the order of these calls, though no row of the
    /// application is locked. The locks are taken in one order within a call. Two transactions that
    /// make several calls with the same keys in opposite order deadlock: one of them is told so with
    /// a [`Conflict`](iobox_core::ErrorKind::Conflict). Writers that do not use this are not held up.
    ///
    /// # Errors
    /// As for [`Enqueue::enqueue`].
    pub async fn enqueue_ordered(
        &self,
        tx: &mut PgConnection,
        drafts: impl AsRef<[Draft]> + Send,
    ) -> Result<Vec<Enqueued>> {
        let drafts = drafts.as_ref();
        let info = self.info().await?;
        let mut keys = Vec::new();
        for draft in drafts {
            let sealed = draft.seal(info.origin, self.config.limits, self.config.ids.as_ref())?;
            keys.extend(sealed.message.key().map(|key| key.as_str().to_owned()));
        }
        if !keys.is_empty() {
            self.sql
                .enqueue
                .lock_keys
                .query()
                .bind(keys)
                .execute(&mut *tx)
                .await
                .map_err(|source| from_sqlx("locking ordering keys", source))?;
        }
        self.enqueue(tx, drafts).await
    }

    /// The ids among those that callers brought which nobody had before.
    async fn claim(&self, tx: &mut PgConnection, sealed: &[Sealed]) -> Result<HashSet<String>> {
        let mut ids: Vec<&MessageId> = sealed
            .iter()
            .filter(|sealed| !sealed.generated)
            .map(|sealed| sealed.message.id())
            .collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        ids.sort_unstable();
        ids.dedup();
        let ids: Vec<&str> = ids.into_iter().map(MessageId::as_str).collect();
        self.sql
            .enqueue
            .claim
            .query()
            .bind(ids)
            .fetch_all(tx)
            .await
            .map_err(|source| from_sqlx("enqueueing", source))?
            .iter()
            .map(|row| get(row, 0))
            .collect()
    }

    async fn insert(&self, tx: &mut PgConnection, messages: &[&Message]) -> Result<()> {
        let partition =
            |message: &Message| i16::from(self.config.partitions.of_message(message).number());
        let column = |text: fn(&Message) -> &str| -> Vec<&str> {
            messages.iter().map(|message| text(message)).collect()
        };
        let partitions: Vec<i16> = messages.iter().map(|message| partition(message)).collect();
        let keys: Vec<Option<&str>> = messages
            .iter()
            .map(|message| message.key().map(|key| key.as_str()))
            .collect();
        let headers: Vec<String> = messages
            .iter()
            .map(|message| message.headers().to_json())
            .collect();
        let payloads: Vec<&[u8]> = messages
            .iter()
            .map(|message| message.payload().as_ref())
            .collect();
        let sizes: Vec<i32> = messages
            .iter()
            .map(|message| i32::try_from(message.size()).unwrap_or(i32::MAX))
            .collect();
        let statement = if self.config.wake_up {
            &self.sql.enqueue.insert_and_wake
        } else {
            &self.sql.enqueue.insert
        };
        statement
            .query()
            .bind(partitions)
            .bind(column(|message| message.id().as_str()))
            .bind(column(|message| message.topic().as_str()))
            .bind(keys)
            .bind(headers)
            .bind(payloads)
            .bind(sizes)
            .execute(tx)
            .await
            .map_err(|source| from_sqlx("enqueueing", source))?;
        Ok(())
    }
}

/// Cuts messages into inserts of bounded size.
pub(super) fn chunks<'a, 'm>(
    messages: &'a [&'m Message],
) -> impl Iterator<Item = &'a [&'m Message]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest
            .iter()
            .take(CHUNK_ROWS)
            .take_while(|message| {
                let first = bytes == 0;
                bytes += message.size();
                first || bytes <= CHUNK_BYTES
            })
            .count();
        let (chunk, left) = rest.split_at_checked(fits)?;
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}
