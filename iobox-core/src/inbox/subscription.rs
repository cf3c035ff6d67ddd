//! The subscription: which handler gets the messages of which topics.

use super::{HandlerName, TopicPattern};
use crate::message::Topic;

/// A row of the store: messages of these topics are for this handler, whichever program receives
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    /// The topics.
    pub pattern: TopicPattern,
    /// Who handles them.
    pub handler: HandlerName,
}

impl Subscription {
    /// The handlers of `topic` among `all`, each once, in the order of their names.
    #[must_use]
    pub fn handlers_of(all: &[Self], topic: &Topic) -> Vec<HandlerName> {
        let mut handlers: Vec<_> = all
            .iter()
            .filter(|one| one.pattern.matches(topic))
            .map(|one| one.handler.clone())
            .collect();
        handlers.sort_unstable();
        handlers.dedup();
        handlers
    }
}
