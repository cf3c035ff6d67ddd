//! Acknowledgements: each reply finds the call that waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::Answer;

/// The calls of one connection that wait for replies.
///
/// async-nats can route replies itself, but keeps a place for each request until it is answered,
/// for as long as the connection lives: a server that leaves publishes unanswered would fill the
/// memory. Here a call that ends, ends all of its places.
#[derive(Debug)]
pub(crate) struct Calls {
    inbox: String,
    open: Mutex<HashMap<u64, mpsc::Sender<(usize, Answer)>>>,
    next: AtomicU64,
    answers: AtomicU64,
}

/// One call that waits for replies; dropping it forgets them.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Calls>,
    number: u64,
    pub(crate) answers: mpsc::Receiver<(usize, Answer)>,
}

impl Calls {
    /// Calls whose replies come to subjects below `inbox`.
    pub(crate) fn new(inbox: String) -> Self {
        Self {
            inbox,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        }
    }

    /// Opens a call with places for `count` replies.
    pub(crate) fn open(self: &Arc<Self>, count: usize) -> Call {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(count.max(1));
        self.lock().insert(number, sender);
        Call {
            calls: Arc::clone(self),
            number,
            answers,
        }
    }

    /// How many replies have come since the connection began.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Hands replies on until the connection ends.
    pub(crate) async fn route(self: Arc<Self>, mut replies: Subscriber) {
        while let Some(reply) = replies.next().await {
            self.hand_on(reply);
        }
    }

    fn hand_on(&self, reply: Message) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let Some((number, index)) = self.place_of(&reply.subject) else {
            tracing::warn!("a reply came to a subject that nobody was told");
            return;
        };
        // A call that has ended is not told any more. One that is full has every reply that it
        // waits for, so that this is a second one.
        if let Some(call) = self.lock().get(&number) {
            let _ = call.try_send((
                index,
                Answer {
                    status: reply.status,
                    payload: reply.payload,
                },
            ));
        }
    }

    /// Reads a call and an index from `<inbox>.<call>.<index>`.
    fn place_of(&self, subject: &str) -> Option<(u64, usize)> {
        let rest = subject.strip_prefix(&self.inbox)?.strip_prefix('.')?;
        let (number, index) = rest.split_once('.')?;
        Some((number.parse().ok()?, index.parse().ok()?))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<(usize, Answer)>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// The subject to which the reply for the message at `index` goes.
    pub(crate) fn reply_to(&self, index: usize) -> String {
        format!("{}.{}.{index}", self.calls.inbox, self.number)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_finds_its_place() {
        let calls = Arc::new(Calls::new(String::from("_INBOX.a")));
        let first = calls.open(1);
        let second = calls.open(1);
        assert_eq!(calls.place_of(&first.reply_to(7)), Some((0, 7)));
        assert_eq!(calls.place_of(&second.reply_to(0)), Some((1, 0)));
        for other in [
            "_INBOX.a",
            "_INBOX.ab.1.2",
            "_INBOX.a.1",
            "_INBOX.a.x.2",
            "b",
        ] {
            assert_eq!(calls.place_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_call_that_ends_leaves_nothing_behind() {
        let calls = Arc::new(Calls::new(String::from("_INBOX.a")));
        let open = calls.open(3);
        assert_eq!(calls.lock().len(), 1);
        drop(open);
        assert!(calls.lock().is_empty());
    }
}
