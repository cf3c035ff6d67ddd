//! The observer: what a program wants to be told when a message fails.

use crate::{
    message::{MessageId, Topic},
    queue::Queue,
    store::Seq,
};

/// Is told of messages that failed, each time after the store confirmed that it is recorded.
///
/// A call is a hint for alarms and counters. It is made at most once for each record, by the instance
/// that settled it; when that instance dies, or loses the partition, between the commit and its
/// confirmation, nobody is called. The rows are the truth: what must not be missed is read from
/// [`Admin::list`](crate::store::Admin::list).
///
/// The methods are called on the task that drives the queue, which waits for them: they must not
/// block. One that panics is logged, and nothing else comes of it.
///
/// ```
/// use iobox_core::observer::{Observed, Observer};
///
/// struct Alarm;
///
/// impl Observer for Alarm {
///     fn on_dead(&self, dead: &Observed<'_>) {
///         eprintln!("{}: a message died after {} attempts", dead.queue, dead.attempt);
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A message failed, could not be taken at the moment, or has an outcome that nobody knows; it will
    /// run again.
    fn on_retry(&self, _message: &Observed<'_>) {}

    /// A message is dead.
    fn on_dead(&self, _message: &Observed<'_>) {}

    /// A message is dead and halts its key: later messages of the key wait for a person. Called after
    /// [`on_dead`](Self::on_dead) for the same message.
    fn on_halted(&self, _message: &Observed<'_>) {}
}

/// A message that failed, as it is recorded.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Observed<'a> {
    /// The queue that it is in: the outbox, or the inbox of a handler.
    pub queue: &'a Queue,
    /// Its place in the queue.
    pub seq: Seq,
    /// Its id, or `None` when its row cannot be decoded.
    pub id: Option<&'a MessageId>,
    /// Its topic, or `None` when its row cannot be decoded.
    pub topic: Option<&'a Topic>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// Why it failed, as it is recorded: one line of at most 1,000 bytes.
    pub reason: &'a str,
    /// Whether it is dead and its key waits for a person.
    pub halts: bool,
}
