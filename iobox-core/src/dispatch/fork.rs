//! Copies of a machine, for a model that tries every order of events from every state.

use std::sync::Arc;

use super::Machine;
use crate::message::IdSource;

impl Machine {
    /// A copy that goes its own way, with ids of its own.
    #[must_use]
    pub fn fork(&self, ids: Arc<dyn IdSource>) -> Self {
        Self {
            ids,
            ..self.clone()
        }
    }

    /// All that its next steps depend on but its settings and ids, as text.
    #[must_use]
    pub fn state(&self) -> String {
        let leases = (
            &self.member,
            &self.stragglers,
            &self.leaving,
            &self.releasing,
            self.release_at,
            self.release_failures,
        );
        let work = (
            &self.works,
            &self.flights,
            &self.fetches,
            &self.settles,
            &self.paused,
            self.poll_pause,
            self.rotor,
            self.settled_last,
            self.served,
        );
        let broker = (
            &self.breaker,
            &self.solo,
            self.solo_at,
            self.solo_last,
            self.ended,
            &self.sent,
        );
        let rest = (
            &self.drain,
            &self.events,
            self.next_number,
            self.random.get_seed(),
        );
        format!("{leases:?}\n{work:?}\n{broker:?}\n{rest:?}")
    }
}
