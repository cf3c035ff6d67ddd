//! The account that a server runs under, and how a command is made to run there.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::unistd::{Uid, User};

/// Ourselves, or an unprivileged user when we are root: Postgres refuses to run as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    /// User and group id to change to; none when we stay who we are.
    ids: Option<(u32, u32)>,
    setpriv: bool,
}

impl Account {
    /// Chooses the account: the first of `names` that exists when we are root, else ourselves.
    pub(super) fn choose(names: &[&str]) -> Result<Self> {
        let ids = if Uid::effective().is_root() {
            Some(unprivileged(names)?)
        } else {
            None
        };
        let mut account = Self { ids, setpriv: true };
        account.setpriv = account
            .command("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(account)
    }

    /// Returns a command that runs `program` under this account, with the pid that it is given.
    ///
    /// `setpriv` replaces itself by the program. It also has the kernel send SIGINT when the
    /// thread that spawned the program ends, so that no server outlives a killed test run; the
    /// standard library alone cannot ask for that without unsafe code.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if !self.setpriv {
            let mut command = Command::new(program);
            if let Some((uid, gid)) = self.ids {
                command.uid(uid).gid(gid);
            }
            return command;
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if let Some((uid, gid)) = self.ids {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--clear-groups");
        }
        command.arg("--").arg(program);
        command
    }

    /// Gives `path` to this account.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.ids else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot give {} to user {uid}", path.display()))
    }

    /// Whether this account may differ from ours and needs folders that others can pass.
    pub(super) fn is_other(&self) -> bool {
        self.ids.is_some()
    }
}

fn unprivileged(names: &[&str]) -> Result<(u32, u32)> {
    for name in names {
        if let Some(user) = User::from_name(name).context("cannot read the users")? {
            return Ok((user.uid.as_raw(), user.gid.as_raw()));
        }
    }
    bail!(
        "a server must not run as root, and none of these users exists: {}",
        names.join(", ")
    )
}
