//! Batches under way: whether the other side answered something that was sent after a message.

use std::{collections::BTreeMap, time::Duration};

use super::Time;

/// The longest that a message is waited for to be sent while its batch gets no answer.
const TURN_MAX: Duration = Duration::from_secs(1);

/// What is known of the batches that were handed to the executor.
///
/// Batches go out side by side, and an executor may send the messages of one in any order and one
/// by one. So an answer to a later batch says nothing about a message of an earlier one that may
/// have had its turn only now. It does say something once that batch was started a while after the
/// earlier one was last heard of: by then all of the earlier one was sent.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Sent {
    /// How long a batch without an answer may have messages to send.
    turn: Duration,
    last: u64,
    open: BTreeMap<u64, Batch>,
    /// When the youngest batch started of which something was answered.
    answered: Option<Time>,
}

/// A batch with messages in flight.
#[derive(Debug, Clone, Copy)]
struct Batch {
    left: usize,
    started: Time,
    /// When it started, or something of it was answered last.
    heard_of: Time,
}

impl Sent {
    pub(super) fn new(execute_timeout: Duration) -> Self {
        Self {
            turn: TURN_MAX.min(execute_timeout / 2),
            last: 0,
            open: BTreeMap::new(),
            answered: None,
        }
    }

    /// Opens the next batch.
    pub(super) const fn next(&mut self) {
        self.last += 1;
    }

    /// Adds a message to the batch that was opened last, and returns the number of that.
    pub(super) fn add(&mut self, now: Time) -> u64 {
        let batch = self.open.entry(self.last).or_insert(Batch {
            left: 0,
            started: now,
            heard_of: now,
        });
        batch.left += 1;
        self.last
    }

    /// Takes the end of a message; `answered` says whether the other side said something to it.
    /// Returns whether it answered something else that was sent after this message.
    pub(super) fn end(&mut self, number: u64, answered: bool, now: Time) -> bool {
        let Some(batch) = self.open.get_mut(&number) else {
            return false;
        };
        let sent_by = batch.heard_of + self.turn;
        let overtaken = self.answered.is_some_and(|started| started >= sent_by);
        if answered {
            batch.heard_of = now;
            self.answered = self.answered.max(Some(batch.started));
        }
        batch.left -= 1;
        if batch.left == 0 {
            self.open.remove(&number);
        }
        overtaken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_forgotten_when_all_of_it_has_ended() {
        let mut sent = Sent::new(Duration::from_secs(1));
        let now = Time::default();
        sent.next();
        let batch = sent.add(now);
        assert_eq!(sent.add(now), batch);
        sent.end(batch, true, now);
        assert_eq!(sent.open.len(), 1);
        sent.end(batch, false, now);
        assert!(sent.open.is_empty());
        assert!(!sent.end(batch, true, now), "nobody knows it any more");
    }
}
