//! A transaction of a handler, and the note of what it is about.

use std::ops::{Deref, DerefMut};

use iobox_core::{memory::MemoryTx, store::Settlement};

use crate::{
    handler::Attempt,
    history::{History, Id},
};

/// The open transaction of a handler.
pub(crate) struct GatedTx {
    pub(crate) inner: MemoryTx,
    /// The attempt that runs in it; it ends with the transaction.
    pub(crate) attempt: Option<Attempt>,
    /// What it marks, once it does.
    pub(super) marks: Option<(History, Settlement, Option<Id>)>,
}

/// An open transaction; dropping it rolls back.
pub(crate) struct OpenTx(pub(super) Box<GatedTx>);

impl Deref for OpenTx {
    type Target = GatedTx;

    fn deref(&self) -> &GatedTx {
        &self.0
    }
}

impl DerefMut for OpenTx {
    fn deref_mut(&mut self) -> &mut GatedTx {
        &mut self.0
    }
}
