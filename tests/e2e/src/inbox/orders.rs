//! The orders: files by which a test has one process of several stand still at a certain point.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder in which a file is an order. The process that removes it obeys it, and no other.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    folder: PathBuf,
}

impl Orders {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Whether there is such an order and it is ours to obey.
    pub(crate) fn take(&self, order: &str) -> bool {
        fs::remove_file(self.folder.join(order)).is_ok()
    }
}
