//! The source: one stream of JetStream, as an inbox reads it.

use std::{fmt, sync::Arc};

use async_nats::jetstream::stream::Info;
use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::SourceName,
    source::{Order, Reader, Source, Start},
};
use tokio::time::timeout;

use super::{check::check, config::SourceConfig, opening::Opening};
use crate::{error::Refusal, session::Session};

/// How many messages may wait within async-nats, beyond replies: one batch, and what the server says
/// about requests.
const WAITING_MAX: usize = 2 * super::pulls::BATCH_MAX;

/// Reads one stream of NATS JetStream.
///
/// In the order of the stream by default: what is stored goes along with the position behind it, and
/// whoever reads next starts there, whatever the broker would deliver first. Streams that keep entries
/// by limits, by interest, or as a work queue can be read. With
/// [`unordered`](crate::SourceConfigBuilder::unordered), every instance reads.
///
/// Each reader has a connection of its own, and ends with it. A redelivery, or a gap in what a consumer
/// delivers, ends an ordered reader too; the next one goes on behind what was stored.
///
/// Messages that a [publisher](crate::JetStreamPublisher) wrote come back as they were; those of other
/// programs get [`Origin::FOREIGN`](iobox_core::message::Origin::FOREIGN), the topic of their subject
/// behind the prefix, and an id of the stream's name and creation, and of their number and time.
/// Several headers of one name become one, with `, ` between their values.
///
/// # What is lost
///
/// Entries that the stream removed before they were read, by its limits, a purge, or by hand, are
/// counted as lost when every entry of the stream is read: each number that is missing was one. With
/// topics that leave some out, the numbers do not tell removed entries from those of other subjects,
/// and nothing is counted; a stream with limits that was trimmed beyond the position is logged. What
/// went before the first entry that was ever read is not counted. An interest stream that lost its
/// consumer keeps nothing: what was published meanwhile is counted as above.
///
/// A stream that was deleted and made anew, or that lost its end in a crash, is read from its
/// beginning, with an error in the log and in `iobox_ingest_rewound_total`.
pub struct JetStreamSource {
    config: Arc<SourceConfig>,
}

impl JetStreamSource {
    /// A source that connects when it is used.
    #[must_use]
    pub fn new(config: SourceConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// Connects, and looks at the stream.
    async fn look(&self) -> Result<(Session, Info), Refusal> {
        let patience = self.config.access.connect_timeout;
        let looked = timeout(patience, async {
            let session = Session::connect(&self.config.access, WAITING_MAX).await?;
            let info = session.inspect(&self.config.stream).await;
            let info = info.map_err(|refusal| self.advise(refusal))?;
            check(&session, &info, &self.config).await?;
            Ok((session, info))
        });
        looked.await.unwrap_or_else(|_| {
            Err(Refusal::unavailable(format!(
                "the server did not answer within {patience:?}"
            )))
        })
    }

    /// A source makes no stream.
    fn advise(&self, refusal: Refusal) -> Refusal {
        if refusal.missing {
            return Refusal::invalid(format!(
                "stream {} does not exist: make it, or correct its name",
                self.config.stream
            ));
        }
        refusal
    }
}

#[async_trait]
impl Source for JetStreamSource {
    fn name(&self) -> &SourceName {
        &self.config.source
    }

    fn order(&self) -> Order {
        self.config.order
    }

    /// Looks at the server and the stream, over a connection of its own.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the server cannot be reached or does
    /// not answer; [`Invalid`](iobox_core::ErrorKind::Invalid) with what to change when the credentials
    /// are refused, JetStream is off, the stream is missing, has no subject of the topics, has no room
    /// for the consumers of a reader, or is a work queue of somebody else.
    async fn probe(&self) -> Result<()> {
        self.look().await?;
        Ok(())
    }

    /// Opens a reader over a connection of its own.
    ///
    /// When the future is dropped, a consumer may be left, which the next opening deletes.
    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let (session, info) = self.look().await?;
        let opening = Opening {
            config: &self.config,
            session,
            info,
            start,
        };
        opening.open().await
    }
}

impl fmt::Debug for JetStreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSource")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
