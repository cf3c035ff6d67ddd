//! Ingesting: storing what was read of a stream together with the position behind it.

use async_trait::async_trait;

use super::{Epoch, Receive};
use crate::{
    Result,
    inbox::{Delivery, Received, SourceName},
    message::Limits,
    source::Position,
};

/// A store that keeps how far each source was read.
#[async_trait]
pub trait Ingest: Receive {
    /// The store of the queue `ingest/<source>`, which is made if it is not there: one partition,
    /// whose lease is the right to read the source. Nothing is ever fetched from it.
    async fn ingest_of(&self, source: &SourceName) -> Result<Self>;

    /// How far the source was read; `None` when nothing of it was ever stored.
    async fn position(&self, source: &SourceName) -> Result<Option<Position>>;

    /// Stores deliveries as [`receive`](Receive::receive) does, and in the same transaction moves the
    /// position of the source: if the caller still holds the right to read under its epoch, and if the
    /// position is the one that it started from. Otherwise nothing is stored.
    ///
    /// # Errors
    /// As for [`receive`](Receive::receive). After [`Unavailable`](crate::ErrorKind::Unavailable) the
    /// call may have taken effect: repeating it tells, with [`Ingested::Already`].
    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested>;

    /// What its messages may be.
    fn limits(&self) -> Limits;

    /// How many messages of this queue, one of [`queue_of`](super::Subscribe::queue_of), are pending or
    /// retrying, counted up to `limit`. What waits for something of its key does not count.
    async fn backlog(&self, limit: u32) -> Result<u64>;
}

/// What to store of a source.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    /// The epoch under which the caller holds the right to read.
    pub epoch: Epoch,
    /// Where the source must stand.
    pub from: Option<Position>,
    /// Where it stands then.
    pub to: Position,
    /// What was read between the two, in the order of the stream; may be empty.
    pub deliveries: Vec<Delivery>,
}

/// What became of an [`IngestRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// It is committed; what became of each delivery.
    Stored(Vec<Received>),
    /// It was committed by an earlier call whose reply was lost.
    Already,
    /// The caller does not hold the right to read any more; nothing was stored.
    LeaseLost,
    /// The source stands elsewhere; nothing was stored.
    Elsewhere(Option<Position>),
}
