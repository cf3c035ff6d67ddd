//! The folder of Redis: in memory, where a sync takes no time.
//!
//! With `appendfsync everysec` Redis keeps what it confirmed to itself for as long as a sync takes that
//! is under way. On a disk that is slow or busy a kill then loses messages, which is the known limit of
//! that setting; a run on a disk would measure the disk.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Mutex,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A file system in memory, where Linux has one.
const MEMORY: &str = "/dev/shm";
/// Anybody, since the server may run as another user.
const ANYBODY: u32 = 0o777;

/// The folders of this run; removed by [`remove`].
static FOLDERS: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

/// The lines of configuration: the append-only file that most people have, in memory if there is one.
pub(crate) fn settings() -> Result<Vec<String>> {
    let mut lines = vec![
        "appendonly yes".to_owned(),
        "appendfsync everysec".to_owned(),
    ];
    if Path::new(MEMORY).is_dir() {
        let folder = tempfile::Builder::new()
            .prefix("iobox-crash-")
            .tempdir_in(MEMORY);
        let folder = folder.context("cannot make a folder in memory")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(ANYBODY))
            .context("cannot open the folder to the server")?;
        lines.push(format!("dir \"{}\"", folder.path().display()));
        let folders = FOLDERS.lock();
        folders.expect("no panic with it in hand").push(folder);
    }
    Ok(lines)
}

/// Removes the folders; the servers in them have ended.
pub(crate) fn remove() {
    FOLDERS.lock().expect("no panic with it in hand").clear();
}
