//! The harness: what an adapter writes so that the suite can drive its publisher.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::Topic,
    publisher::{Durability, Publisher},
};

use super::Stored;

/// A publisher under test, the place that it publishes to, and the line between them.
///
/// Each case makes one harness and uses it alone; cases run at the same time, so that two harnesses
/// must share neither a place nor a line. A server they may share. What a case leaves behind is
/// dropped with the harness, inside of a tokio runtime with several threads.
///
/// The constants say what the broker can do. No case is left out where it cannot: the case then
/// checks the other half of its sentence.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// The publisher.
    type Publisher: Publisher;

    /// What a probe of the broker must tell.
    const DURABILITY: Durability;

    /// Whether a message whose wire id is known is not kept again, and its receipt says so.
    const ABSORBS_DUPLICATES: bool;

    /// Whether headers come back in the order in which they were given; else they are a set.
    const KEEPS_HEADER_ORDER: bool;

    /// The largest payload that goes through, in bytes, whatever the other parts are.
    ///
    /// [`Limits::PAYLOAD_MAX`](iobox_core::message::Limits::PAYLOAD_MAX) or more, unless the broker
    /// cannot be set up for it.
    const PAYLOAD_MAX: usize;

    /// A payload that is refused for its size, in bytes; `None` where no size is.
    const PAYLOAD_REFUSED: Option<usize>;

    /// Whether [`refuse`](Self::refuse) can make the broker refuse one topic alone.
    const REFUSES_TOPICS: bool;

    /// Whether the line between publisher and broker can be muted, cut and mended.
    const CAN_BE_CUT: bool;

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

    /// A new publisher on a new, empty place of the broker, with the line whole.
    async fn fresh() -> Self;

    /// The publisher.
    fn publisher(&self) -> &Arc<Self::Publisher>;

    /// Another publisher on the same place and the same line, as a second process would have it. A
    /// broker that lives in memory returns the same one.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the publisher cannot be made while
    /// the line is cut.
    async fn another(&self) -> Result<Arc<Self::Publisher>>;

    /// Everything that the place holds, each topic in the order in which the broker keeps it; read
    /// past the line, so that it works while that is cut.
    async fn stored(&self) -> Vec<Stored>;

    /// From now on the broker itself refuses messages of this topic and no others, by an answer
    /// about that message. Called only if [`REFUSES_TOPICS`](Self::REFUSES_TOPICS).
    async fn refuse(&self, topic: &Topic);

    /// From now on what publishers send reaches the broker, but its replies do not come back, until
    /// the line is cut or mended. Called only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn mute(&self);

    /// Ends every connection of the line, and every one that is tried anew, until the line is
    /// mended. Replies that were held back are lost. Nothing passes once this has returned. Called
    /// only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn cut(&self);

    /// Makes the line whole again: replies that were held back come, new connections are taken.
    /// Called only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn mend(&self);
}
