//! Installing a server's package with `apt-get`, where that can be done unasked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Uid;

use super::kind::Kind;
use super::programs::tool;

const CLUSTER_CONF: &str = "/etc/postgresql-common/createcluster.conf";
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// One at a time in this process; other processes wait by apt's own lock.
static APT: Mutex<()> = Mutex::new(());

/// Says why packages cannot be installed here, if so.
pub(super) fn obstacle() -> Option<&'static str> {
    if !Uid::effective().is_root() {
        Some("not root")
    } else if !Path::new("/etc/debian_version").exists() || tool("apt-get", None).is_none() {
        Some("not Debian or one of its kin")
    } else {
        None
    }
}

/// Installs the Debian package of `kind`, without the service that comes with it.
pub(super) fn package(kind: &Kind) -> Result<()> {
    let _one = APT.lock().unwrap_or_else(PoisonError::into_inner);
    eprintln!(
        "iobox-testkit: no {} found, so the package is installed now",
        kind.name
    );
    let _quiet = NoService::begin()?;
    (kind.prepare)()?;
    apt_get(&["update"])?;
    apt_get(&["install", "--no-install-recommends", kind.package])
}

/// Tells Debian's PostgreSQL to make no cluster when it is installed.
pub(super) fn no_main_cluster() -> Result<()> {
    let conf = Path::new(CLUSTER_CONF);
    if !conf.exists() {
        fs::create_dir_all(conf.parent().unwrap_or(conf))
            .context("cannot make a folder in /etc")?;
        let text = "# Written by iobox-testkit before it installed the package.\n\
                    create_main_cluster = false\n";
        fs::write(conf, text).with_context(|| format!("cannot write {CLUSTER_CONF}"))?;
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"])
        // Keeps the configuration that is there already, ours above included.
        .args(["-o", "Dpkg::Options::=--force-confold"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("UCF_FORCE_CONFFOLD", "1")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    ensure!(
        output.status.success(),
        "apt-get {} failed ({}):\n{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}

/// While it lives, packages start no service; a policy that is there already stays as it is.
struct NoService {
    written: bool,
}

impl NoService {
    fn begin() -> Result<Self> {
        let policy = Path::new(POLICY);
        if policy.exists() {
            return Ok(Self { written: false });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {POLICY}"))?;
        let written = Self { written: true };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(written)
    }
}

impl Drop for NoService {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("iobox-testkit: cannot remove {POLICY}: {error}");
        }
    }
}
