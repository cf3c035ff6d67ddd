//! Copies of a store, for a model that tries every order of events from every state.

use std::sync::{Arc, Mutex};

use super::{
    store::{MemoryStore, Shared},
    table::Table,
};
use crate::store::Signal;

impl MemoryStore {
    /// A copy of the outbox that goes its own way. What an inbox would need is not copied.
    #[must_use]
    pub fn fork(&self) -> Self {
        let shared = &self.shared;
        Self {
            shared: Arc::new(Shared {
                origin: shared.origin,
                partitions: shared.partitions,
                limits: shared.limits,
                ids: Arc::clone(&shared.ids),
                clock: shared.clock.fork(),
                signal: Signal::new(),
                mailroom: Mutex::default(),
                queue: shared.queue.clone(),
                table: Mutex::new(self.table().clone()),
            }),
        }
    }

    /// All that the next calls of the outbox depend on, as text.
    #[must_use]
    pub fn state(&self) -> String {
        let table = self.table();
        let Table { slots, members, .. } = &*table;
        let rows: Vec<_> = table.rows().collect();
        format!("{:?}\n{rows:?}\n{slots:?}\n{members:?}", self.now())
    }
}
