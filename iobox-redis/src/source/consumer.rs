//! The consumer: the name under which one reader of a group is known.

use std::sync::{Arc, Mutex, PoisonError};

use iobox_core::message::{IdSource as _, RandomIds};

/// The names of this instance that no reader has at the moment.
///
/// A name is used again, so that the next reader is given at once what the last one did not ack.
#[derive(Debug, Default)]
pub(super) struct Consumers(Mutex<Vec<String>>);

/// A name that one reader has; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: String,
    of: Arc<Consumers>,
}

impl Consumers {
    /// A name that no other reader of any process has.
    pub(super) fn take(self: &Arc<Self>) -> Consumer {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Consumer {
            name: left.unwrap_or_else(|| RandomIds.draw().to_string()),
            of: Arc::clone(self),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut left = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_readers_never_share_a_name_and_the_next_one_takes_it_over() {
        let all = Arc::new(Consumers::default());
        let (one, other) = (all.take(), all.take());
        assert_ne!(one.name, other.name);
        let name = one.name.clone();
        drop(one);
        assert_eq!(all.take().name, name);
    }
}
