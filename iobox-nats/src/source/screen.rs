//! The screen: a reader that brings nothing but one entry that cannot be read.
//!
//! async-nats takes an entry with headers that it cannot read for a broken connection, and ends that,
//! or its task panics. Delivered, such an entry would end every reader for ever; so a reader that is
//! opened again looks at the next entry first, without having it delivered.

use async_trait::async_trait;
use iobox_core::{
    Result,
    source::{Batch, Reader, Refused, Room},
};

use super::{course::Course, entries::Entries, pulls::lost};
use crate::session::Session;

/// An entry that would end the connection over which it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub(super) taken: u64,
    pub(super) reason: &'static str,
}

/// Brings one refusal, then asks to be opened again behind it.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) session: Session,
    pub(super) stream: String,
    pub(super) entry: Unreadable,
    pub(super) course: Course,
    /// Whether the stream is a work queue, which keeps the entry until it is removed.
    pub(super) removes: bool,
    pub(super) brought: bool,
}

#[async_trait]
impl Reader for Screen {
    async fn next(&mut self, _: Room) -> Result<Batch> {
        if std::mem::replace(&mut self.brought, true) {
            return Err(lost(
                "the stream goes on behind an entry that cannot be read",
            ));
        }
        self.course.bring(self.entry.sequence, self.entry.taken)?;
        let mut batch = Batch::default();
        batch.refused.push(Refused {
            place: self.entry.sequence.to_string(),
            reason: String::from(self.entry.reason),
        });
        batch.lost = self.course.take_removed();
        batch.position = Some(self.course.position()?);
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        if self.removes {
            let entries = Entries {
                session: &self.session,
                stream: &self.stream,
            };
            entries.remove(self.entry.sequence).await?;
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}
