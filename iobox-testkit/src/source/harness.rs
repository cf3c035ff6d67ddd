//! The harness: what an adapter writes so that the suite can drive its source.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{Result, message::Message, source::Source};

/// A source under test, the stream that it reads, and the line between them.
///
/// Each case makes one harness and uses it alone; cases run at the same time, so that two harnesses
/// must share neither a stream nor a line. A server they may share. What a case leaves behind is
/// dropped with the harness, inside of a tokio runtime with several threads.
///
/// The constants say what the broker can do. No case is left out where it cannot: the case then
/// checks what remains of its sentence.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// The source.
    type Source: Source;

    /// Whether headers come back in the order in which they were given; else they are a set.
    const KEEPS_HEADER_ORDER: bool;

    /// Whether arrivals of every topic come in one order; else each topic has an order of its own.
    const ONE_ORDER: bool;

    /// Whether other programs can write into the stream, with [`foreign`](Self::foreign).
    const TAKES_FOREIGN: bool;

    /// Whether the stream can lose entries, with [`trim`](Self::trim).
    const CAN_BE_TRIMMED: bool;

    /// Whether the stream can be deleted and made anew, with [`remake`](Self::remake).
    const CAN_BE_REMADE: bool;

    /// Whether the line between source and broker can be muted, cut and mended.
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

    /// A new source of a new, empty stream, with the line whole. It reads every topic that the suite
    /// [publishes](super::support::TOPICS).
    async fn fresh() -> Self;

    /// The source.
    fn source(&self) -> &Arc<Self::Source>;

    /// Another source of the same name on the same stream and the same line, as a second process
    /// would have it.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when it cannot be made while the line is
    /// cut.
    async fn another(&self) -> Result<Arc<Self::Source>>;

    /// Adds messages to the stream as a relay does, in their order, past the line.
    async fn publish(&self, messages: &[Message]);

    /// Adds an entry of another program, with this payload and nothing of ours, past the line. Called
    /// only if [`TAKES_FOREIGN`](Self::TAKES_FOREIGN).
    async fn foreign(&self, payload: &[u8]);

    /// Removes the oldest entries of the stream, as a limit of it does, but for the last `keep`. Called
    /// only if [`CAN_BE_TRIMMED`](Self::CAN_BE_TRIMMED).
    async fn trim(&self, keep: usize);

    /// Deletes the stream and makes it anew, empty. Called only if
    /// [`CAN_BE_REMADE`](Self::CAN_BE_REMADE).
    async fn remake(&self);

    /// From now on what readers send reaches the broker, but its replies do not come back, until the
    /// line is cut or mended. Called only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn mute(&self);

    /// Ends every connection of the line, and every one that is tried anew, until the line is
    /// mended. Called only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn cut(&self);

    /// Makes the line whole again. Called only if [`CAN_BE_CUT`](Self::CAN_BE_CUT).
    async fn mend(&self);
}
