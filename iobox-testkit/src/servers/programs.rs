//! Server programs on this machine: those in `PATH`, else the newest in the usual folders.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folders where packages put server programs of one version: before and after its number.
const POSTGRES_FOLDERS: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// Where Debian and those who download it put NATS; ordinary users do not have the first in `PATH`.
const NATS_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Where Debian and those who download them put Redis and Valkey.
const REDIS_FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// The programs that speak the protocol of Redis.
const REDIS_SERVERS: [&str; 2] = ["redis-server", "valkey-server"];

/// The programs of a server on this machine, as the search for servers finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Programs {
    /// The program that serves, such as `/usr/bin/redis-server`.
    pub server: PathBuf,
    /// The folder that holds it and all others.
    pub folder: PathBuf,
    /// The version, such as `15.18`.
    pub version: String,
}

impl Programs {
    /// Finds those of Postgres.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        let usual = POSTGRES_FOLDERS.iter().flat_map(|(base, prefix, bin)| {
            let entries = fs::read_dir(base).into_iter().flatten().flatten();
            entries
                .filter(move |entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(move |entry| entry.path().join(bin))
        });
        find(path_folders(), usual, &["postgres", "initdb"], version)
    }

    /// Finds those of NATS.
    #[must_use]
    pub fn nats() -> Option<Self> {
        let usual = NATS_FOLDERS.into_iter().map(PathBuf::from);
        find(path_folders(), usual, &["nats-server"], version)
    }

    /// Finds those of Redis or Valkey: whichever comes first in `PATH`, else Redis.
    #[must_use]
    pub fn redis() -> Option<Self> {
        let one = |folder: PathBuf, server| find([folder], [], &[server], version);
        let either = |folder: PathBuf| {
            let mut servers = REDIS_SERVERS.into_iter();
            servers.find_map(|server| one(folder.clone(), server))
        };
        path_folders().find_map(either).or_else(|| {
            REDIS_SERVERS.into_iter().find_map(|server| {
                let usual = REDIS_FOLDERS.into_iter().map(PathBuf::from);
                find([], usual, &[server], version)
            })
        })
    }

    /// The path of one of the programs.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Finds one program, in `folder` or else in `PATH`.
pub(super) fn tool(program: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let folders = folder.map(Path::to_owned).into_iter().chain(path_folders());
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// `PATH` wins, since somebody chose it; `programs[0]` is the one that is asked for its version.
fn find(
    path: impl IntoIterator<Item = PathBuf>,
    usual: impl IntoIterator<Item = PathBuf>,
    programs: &[&str],
    version: impl Fn(&Path) -> Option<String>,
) -> Option<Programs> {
    let complete = |folder: PathBuf| {
        if !programs
            .iter()
            .all(|program| folder.join(program).is_file())
        {
            return None;
        }
        // A link to a program of another folder: the other programs are expected next to that.
        let target = folder.join(programs[0]).canonicalize().ok()?;
        let folder = target.parent()?.to_owned();
        let version = version(&target)?;
        // Some programs are told what to do by their name: Debian's `redis-server` is a link to
        // `redis-check-rdb`.
        let named = folder.join(programs[0]);
        Some(Programs {
            server: if named.is_file() { named } else { target },
            folder,
            version,
        })
    };
    path.into_iter().find_map(complete).or_else(|| {
        usual
            .into_iter()
            .filter_map(complete)
            .max_by_key(|found| numbers(&found.version))
    })
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .collect::<Vec<_>>()
        .into_iter()
}

/// Runs `program --version`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    version_in(&String::from_utf8(output.stdout).ok()?)
}

/// Takes the first word that starts with a digit, or with a `v` or `v=` before one.
fn version_in(text: &str) -> Option<String> {
    let mut words = text
        .split_whitespace()
        .map(|word| word.strip_prefix('v').unwrap_or(word))
        .map(|word| word.strip_prefix('=').unwrap_or(word));
    let word = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.to_owned())
}

/// `15.18` as `[15, 18]`, so that 9.6 counts as older than 15; `18beta1` as `[18]`.
fn numbers(version: &str) -> Vec<u32> {
    let leading = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    version.split('.').map_while(leading).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder with programs that hold what they would print.
    fn server(base: &Path, name: &str, version: &str) -> PathBuf {
        let folder = base.join(name);
        fs::create_dir(&folder).expect("a folder");
        for program in ["postgres", "initdb"] {
            let text = format!("{program} (PostgreSQL) {version} (made up)");
            fs::write(folder.join(program), text).expect("a file");
        }
        folder
    }

    fn found(path: &[&PathBuf], usual: &[&PathBuf]) -> Option<String> {
        let path = path.iter().copied().cloned();
        let usual = usual.iter().copied().cloned();
        let read = |program: &Path| version_in(&fs::read_to_string(program).ok()?);
        let programs = find(path, usual, &["postgres", "initdb"], read)?;
        Some(programs.version)
    }

    #[test]
    fn path_wins_and_the_newest_of_the_others_follows() {
        let base = tempfile::tempdir().expect("a folder");
        let old = server(base.path(), "old", "9.6.24");
        let new = server(base.path(), "new", "15.18");
        let beta = server(base.path(), "beta", "18beta1");
        let empty = base.path().join("empty");

        let path_first = found(&[&empty, &old], &[&new, &beta]);
        assert_eq!(path_first.as_deref(), Some("9.6.24"));
        assert_eq!(found(&[&empty], &[&old, &new]).as_deref(), Some("15.18"));
        assert_eq!(found(&[], &[&new, &beta, &old]).as_deref(), Some("18beta1"));
        assert_eq!(found(&[&empty], &[]), None);
    }

    #[test]
    fn a_folder_without_initdb_does_not_count() {
        let base = tempfile::tempdir().expect("a folder");
        let half = server(base.path(), "half", "15.18");
        fs::remove_file(half.join("initdb")).expect("a file");
        assert_eq!(found(&[&half], &[&half]), None);
    }

    #[test]
    fn each_server_tells_its_version_in_its_own_way() {
        for (text, version) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-1)", "15.18"),
            ("nats-server: v2.15.1", "2.15.1"),
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0",
                "7.0.15",
            ),
            ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc", "9.1.2"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
    }

    #[test]
    fn a_program_is_asked_for_its_version() {
        let ls = tool("ls", None).expect("a program that is everywhere");
        assert_ne!(version(&ls), Some(String::new()));
        assert_eq!(version(Path::new("/nowhere/ls")), None);
    }
}
