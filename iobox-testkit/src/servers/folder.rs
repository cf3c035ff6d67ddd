//! The temporary folder of one server, and the sweep of folders that killed runs left behind.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::account::Account;

/// A folder younger than this is left alone, since its owner may not have locked it yet.
const SWEEP_AGE_MIN: Duration = Duration::from_secs(60);

/// A private folder, removed on drop, locked for as long as its owner lives.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder named after `what` that `account` owns.
    pub(super) fn new(what: &str, account: &Account) -> Result<Self> {
        let base = base(account);
        let prefix = format!("iobox-{what}-");
        sweep(&base, &prefix);
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&base)
            .with_context(|| format!("cannot make a folder in {}", base.display()))?;
        let lock = File::create(dir.path().join("lock")).context("cannot make a lock file")?;
        lock.lock().context("cannot lock the folder of a server")?;
        account.own(dir.path())?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The temporary folder, or another one if `account` could not reach that, as under `/root`.
fn base(account: &Account) -> PathBuf {
    let preferred = env::temp_dir();
    if !account.is_other() || is_passable(&preferred) {
        return preferred;
    }
    let others = ["/tmp", "/var/tmp"].map(PathBuf::from);
    others
        .into_iter()
        .find(|path| is_passable(path))
        .unwrap_or(preferred)
}

fn is_passable(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    path.ancestors()
        .all(|dir| fs::metadata(dir).is_ok_and(|data| data.permissions().mode() & 0o001 != 0))
}

/// Removes the folders whose owners are gone: their locks are free.
fn sweep(base: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let age = entry
            .metadata()
            .and_then(|data| data.modified())
            .map(|time| time.elapsed());
        let old = matches!(age, Ok(Ok(age)) if age > SWEEP_AGE_MIN);
        let free = || File::open(entry.path().join("lock")).is_ok_and(|f| f.try_lock().is_ok());
        if old && free() {
            // Another process may be sweeping too, and a folder that stays harms nobody.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn leave_behind(base: &Path, name: &str, age: Duration) -> PathBuf {
        let path = base.join(name);
        fs::create_dir(&path).expect("a folder");
        File::create(path.join("lock")).expect("a file");
        let folder = File::open(&path).expect("a folder");
        folder
            .set_modified(SystemTime::now() - age)
            .expect("a time");
        path
    }

    #[test]
    fn a_sweep_removes_only_old_folders_without_an_owner() {
        let base = tempfile::tempdir().expect("a folder");
        let old = SWEEP_AGE_MIN * 2;
        let gone = leave_behind(base.path(), "iobox-x-1", old);
        let young = leave_behind(base.path(), "iobox-x-2", Duration::ZERO);
        let foreign = leave_behind(base.path(), "other-x-3", old);
        let owned = leave_behind(base.path(), "iobox-x-4", old);
        let lock = File::open(owned.join("lock")).expect("a file");
        lock.lock().expect("a lock");

        sweep(base.path(), "iobox-x-");

        assert!(!gone.exists());
        assert!(young.exists() && foreign.exists() && owned.exists());
    }
}
