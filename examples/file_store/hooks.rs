//! Hooks: what the conformance suite does to the store that no application can.

#![allow(
    dead_code,
    reason = "the example shows the store, its test certifies it"
)]

use std::{sync::PoisonError, time::Duration};

use iobox::{Result, message::MessageId};

use super::{store::FileStore, table::Change};

impl FileStore {
    /// Puts the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.shift += by;
    }

    /// Spoils the row of a message, so that it cannot be decoded.
    pub(crate) async fn corrupt(&self, id: &MessageId) -> Result<()> {
        let id = id.to_string();
        self.run(move |edit, _| {
            if let Some(row) = edit.row_of(&id) {
                let mut row = row.clone();
                row.topic = String::from("a b");
                edit.make(Change::Row(row));
            }
            Ok(())
        })
        .await
    }

    /// Sets the file up as a program of this version would.
    pub(crate) async fn migrate_as(&self, version: u32) -> Result<()> {
        self.set_up(version).await
    }
}
