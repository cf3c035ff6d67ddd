//! What a broker implements for reading: a stream, and readers of it.
//!
//! An inbox reads an [ordered](Order::Stream) source on one instance at a time, under the lease of
//! its queue. Each [batch](Batch) is stored in one transaction together with the
//! [position](Position) behind it; the broker is told only when that is committed. So the stored
//! position is the truth about what was read: whoever reads next starts behind it, whatever the
//! broker would hand out first.

mod batch;
mod position;
mod start;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use batch::{Batch, Refused};
pub use position::Position;
pub use start::{Room, Start};

use crate::{Result, inbox::SourceName};

/// In which order a source is read, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// In the order of the stream, by one instance at a time, from the stored position on.
    Stream,
    /// In no order, by every instance at once; the broker remembers what was acked.
    None,
}

/// A stream of a broker that feeds an inbox.
///
/// Every call here and of its [`Reader`] ends by itself when the broker is silent, with an error or, if it is
/// [`next`](Reader::next), with an empty batch: who calls waits for as long as that takes, and nobody else reads
/// in the meantime.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug + 'static {
    /// Its name: messages are known by it, so that it must stay the same for the life of the stream.
    fn name(&self) -> &SourceName;

    /// In which order it is read. Always the same.
    fn order(&self) -> Order;

    /// Asks the broker whether the stream can be read, at start and while it cannot be.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot be reached;
    /// [`Invalid`](crate::ErrorKind::Invalid) when a person must change something first.
    async fn probe(&self) -> Result<()>;

    /// Opens a reader that begins behind the position of `start`.
    ///
    /// # Errors
    /// As for [`probe`](Self::probe).
    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>>;
}

/// A reader of a stream. Dropping it leaves what was not acked to the next reader.
#[async_trait]
pub trait Reader: Send + fmt::Debug {
    /// The next arrivals, in the order of the stream, none of them at or below the position that the
    /// reader began behind. Waits for the first for at most [`Room::wait`]; then the batch is empty.
    ///
    /// The batch is within the room, but for a single message that is larger. After an error, or when
    /// this future was dropped, the reader can only be closed.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the stream has to be opened anew: a lost
    /// connection, a gap, a stream that was deleted.
    async fn next(&mut self, room: Room) -> Result<Batch>;

    /// Tells the broker that everything that [`next`](Self::next) returned is committed. Called after
    /// each batch that is not empty, before the next.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the broker did not take it: what was read
    /// may arrive again, and is known by then.
    async fn ack(&mut self) -> Result<()>;

    /// Ends the reading; what a reader leaves at the broker may be removed. Best effort, and bounded
    /// by a few seconds.
    async fn close(self: Box<Self>);
}

#[async_trait]
impl<S: Source + ?Sized> Source for Arc<S> {
    fn name(&self) -> &SourceName {
        (**self).name()
    }

    fn order(&self) -> Order {
        (**self).order()
    }

    async fn probe(&self) -> Result<()> {
        (**self).probe().await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        (**self).open(start).await
    }
}
