//! A private Postgres comes up, comes back after a stop and a kill, and leaves nothing behind.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real processes wait for them"
)]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::servers::{Origin, Postgres, adopt_orphans, children, reap, unique_schema};

/// Set in the process that starts a server and is then killed.
const VICTIM: &str = "IOBOX_TEST_VICTIM";

#[test]
fn a_confirmed_commit_survives_a_kill_and_a_stop() -> Result<()> {
    let mut postgres = Postgres::private()?;
    assert!(postgres.is_private());
    assert!(postgres.version().starts_with(|c: char| c.is_ascii_digit()));
    let url = postgres.url().to_owned();
    let table = format!("{}.t", unique_schema("servers"));
    let (schema, _) = table.split_once('.').context("a schema")?;
    psql(
        &postgres,
        &format!("create schema {schema}; create table {table} (n int)"),
    )?;

    for round in 1..=3 {
        psql(&postgres, &format!("insert into {table} values ({round})"))?;
        let pid = postgres.pid().context("a running server")?;
        let backends = children(pid);
        ensure!(!backends.is_empty(), "a server has children");
        if round == 2 {
            postgres.stop()?
        } else {
            postgres.kill()?
        }
        assert_eq!(postgres.pid(), None);
        for gone in backends.iter().map(|child| child.pid).chain([pid]) {
            assert!(!is_child(gone), "process {gone} is left");
        }
        psql(&postgres, "select 1").expect_err("the server is down");

        postgres.start()?;
        assert_eq!(postgres.url(), url);
        let rows = psql(&postgres, &format!("select count(*) from {table}"))?;
        assert_eq!(rows, round.to_string());
    }
    Ok(())
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_folder() -> Result<()> {
    let postgres = Postgres::private()?;
    let data = data_folder(&postgres)?;
    let folder = data.parent().context("a folder around the data")?;
    let pid = postgres.pid().context("a running server")?;
    assert!(data.exists() && is_child(pid));
    drop(postgres);
    assert!(!is_child(pid));
    assert!(!folder.exists());
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_server_that_never_comes_back_leaves_no_shared_memory() -> Result<()> {
    let mut postgres = Postgres::private()?;
    let lock = fs::read_to_string(data_folder(&postgres)?.join("postmaster.pid"))?;
    let id = lock
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1));
    let id = id.context("an id of shared memory")?;
    let present = || -> Result<bool> {
        let table = fs::read_to_string("/proc/sysvipc/shm")?;
        Ok(table
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(id)))
    };
    assert!(present()?);
    postgres.kill()?;
    assert!(present()?);
    drop(postgres);
    assert!(!present()?);
    Ok(())
}

#[test]
fn settings_reach_the_server() -> Result<()> {
    let safe = Postgres::builder()
        .durable(true)
        .setting("wal_level", "logical")
        .private()?;
    assert_eq!(psql(&safe, "show fsync")?, "on");
    assert_eq!(psql(&safe, "show wal_level")?, "logical");
    drop(safe);
    let quick = Postgres::private()?;
    assert_eq!(psql(&quick, "show fsync")?, "off");
    assert_eq!(psql(&quick, "show synchronous_commit")?, "on");
    Ok(())
}

#[test]
fn a_setting_that_the_server_refuses_is_told_with_its_log() {
    let refused = Postgres::builder().setting("wal_level", "some").private();
    let text = format!("{:#}", refused.expect_err("no such level"));
    assert!(text.contains("wal_level"), "{text}");
}

#[test]
fn the_shared_server_is_one_and_ends_with_its_last_user() -> Result<()> {
    let first = Postgres::shared()?;
    let second = Postgres::shared()?;
    assert!(Arc::ptr_eq(&first, &second));
    let pid = first.pid();
    drop(first);
    psql(&second, "select 1")?;
    drop(second);
    assert!(pid.is_none_or(|pid| !is_child(pid)));
    Ok(())
}

#[test]
fn a_server_outlives_the_thread_that_started_it() -> Result<()> {
    let postgres = thread::spawn(Postgres::private).join().expect("no panic")?;
    assert_eq!(psql(&postgres, "select 1")?, "1");
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_ends_when_its_process_is_killed() -> Result<()> {
    if env::var_os(VICTIM).is_some() {
        let postgres = Postgres::private()?;
        println!("pid={}", postgres.pid().context("a running server")?);
        loop {
            thread::park();
        }
    }
    adopt_orphans()?;
    // The victim cannot remove the folder of its server, so it gets one inside ours.
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let mut victim = Command::new(env::current_exe()?)
        .args([
            "--exact",
            "a_server_ends_when_its_process_is_killed",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = BufReader::new(victim.stdout.take().context("a pipe")?);
    let told = stdout.lines().map_while(Result::ok).find_map(|line| {
        let (_, pid) = line.split_once("pid=")?;
        pid.trim().parse::<u32>().ok()
    });
    victim.kill()?;
    victim.wait()?;
    let pid = told.context("the victim tells a pid")?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reap(pid)? {
        ensure!(
            Instant::now() < deadline,
            "server {pid} outlives its process"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs SQL by the `psql` that belongs to the server, or by that in `PATH`.
fn psql(postgres: &Postgres, sql: &str) -> Result<String> {
    let program = match postgres.origin() {
        Origin::Started { programs } => programs.join("psql"),
        _ => PathBuf::from("psql"),
    };
    let output = Command::new(program)
        .args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            postgres.url(),
            "-c",
            sql,
        ])
        .output()
        .context("psql")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn data_folder(postgres: &Postgres) -> Result<PathBuf> {
    Ok(Path::new(&psql(postgres, "show data_directory")?).to_owned())
}

fn is_child(pid: u32) -> bool {
    children(process::id()).iter().any(|child| child.pid == pid)
}
