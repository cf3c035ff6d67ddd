//! A private Redis comes up, comes back after a stop and a kill on the same data, and leaves nothing
//! behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use iobox_testkit::servers::{Redis, children};

/// A client of half a dozen lines: one command, the first line of its reply.
fn command(redis: &Redis, command: &str) -> Result<String> {
    let address = redis.url().trim_start_matches("redis://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "{command}\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    ensure!(!line.is_empty(), "the server closed the connection");
    Ok(line.trim_end().to_owned())
}

fn is_child(pid: u32) -> bool {
    children(process::id()).iter().any(|child| child.pid == pid)
}

#[test]
fn an_acked_entry_survives_a_kill_and_a_stop() -> Result<()> {
    let mut redis = Redis::private()?;
    assert!(redis.is_private());
    assert!(redis.version().starts_with(|c: char| c.is_ascii_digit()));
    let url = redis.url().to_owned();

    for round in 1..=3 {
        let id = command(&redis, "XADD s * f v")?;
        assert!(id.starts_with('$'), "{id}");
        let pid = redis.pid().expect("a running server");
        if round == 2 {
            redis.stop()?;
        } else {
            redis.kill()?;
        }
        assert_eq!(redis.pid(), None);
        assert!(!is_child(pid));
        command(&redis, "PING").expect_err("the server is down");

        redis.start()?;
        assert_eq!(redis.url(), url);
        assert_eq!(command(&redis, "XLEN s")?, format!(":{round}"));
    }
    Ok(())
}

#[test]
fn settings_reach_the_server() -> Result<()> {
    let strict = Redis::builder().password("secret").private()?;
    assert!(command(&strict, "PING")?.starts_with("-NOAUTH"));
    drop(strict);
    let forgetful = Redis::builder()
        .setting("appendonly no")
        .setting("maxmemory 1")
        .private()?;
    assert!(command(&forgetful, "XADD s * f v")?.starts_with("-OOM"));
    Ok(())
}

#[test]
fn a_setting_that_the_server_refuses_is_told_with_its_log() {
    let refused = Redis::builder().setting("maxmemroy 1").private();
    let text = format!("{:#}", refused.expect_err("no such setting"));
    assert!(text.contains("maxmemroy"), "{text}");
}

#[test]
fn the_shared_server_is_one_and_ends_with_its_last_user() -> Result<()> {
    let first = Redis::shared()?;
    let second = Redis::shared()?;
    assert!(Arc::ptr_eq(&first, &second));
    let pid = first.pid();
    drop(first);
    assert_eq!(command(&second, "PING")?, "+PONG");
    drop(second);
    assert!(pid.is_none_or(|pid| !is_child(pid)));
    Ok(())
}
