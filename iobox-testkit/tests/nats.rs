//! A private NATS comes up, comes back after a stop and a kill on the same data, and leaves nothing
//! behind.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real processes wait for them"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::servers::{Nats, children};

/// A client of a dozen lines: one request, one reply.
fn request(nats: &Nats, subject: &str, payload: &str) -> Result<String> {
    let address = nats.url().trim_start_matches("nats://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    lines.next().context("what the server says first")??;
    let connect = "{\"verbose\":false,\"headers\":true,\"no_responders\":true}";
    let length = payload.len();
    // In one piece: the server closes the connection as soon as it has refused the first line.
    let commands = format!(
        "CONNECT {connect}\r\nSUB answer 1\r\nPUB {subject} answer {length}\r\n{payload}\r\n"
    );
    stream.write_all(commands.as_bytes())?;
    for line in lines {
        let line = line?;
        ensure!(!line.starts_with("-ERR"), "the server says {line}");
        if line.contains("{") || line.contains("503") {
            return Ok(line);
        }
    }
    anyhow::bail!("the server closed the connection")
}

fn is_child(pid: u32) -> bool {
    children(process::id()).iter().any(|child| child.pid == pid)
}

#[test]
fn an_acked_message_survives_a_kill_and_a_stop() -> Result<()> {
    let mut nats = Nats::private()?;
    assert!(nats.is_private());
    assert!(nats.version().starts_with(|c: char| c.is_ascii_digit()));
    let url = nats.url().to_owned();
    let stream = "{\"name\":\"S\",\"subjects\":[\"s.>\"]}";
    let made = request(&nats, "$JS.API.STREAM.CREATE.S", stream)?;
    ensure!(!made.contains("\"error\""), "{made}");

    for round in 1..=3 {
        let ack = request(&nats, "s.one", "payload")?;
        assert!(ack.contains(&format!("\"seq\":{round}")), "{ack}");
        let pid = nats.pid().context("a running server")?;
        if round == 2 {
            nats.stop()?;
        } else {
            nats.kill()?;
        }
        assert_eq!(nats.pid(), None);
        assert!(!is_child(pid));
        request(&nats, "s.one", "payload").expect_err("the server is down");

        nats.start()?;
        assert_eq!(nats.url(), url);
        let info = request(&nats, "$JS.API.STREAM.INFO.S", "")?;
        assert!(info.contains(&format!("\"messages\":{round}")), "{info}");
    }
    Ok(())
}

#[test]
fn settings_reach_the_server() -> Result<()> {
    let strict = Nats::builder()
        .setting("max_payload: 4KB")
        .user("iobox", "secret")
        .private()?;
    let refused = request(&strict, "s.one", "").expect_err("no credentials");
    assert!(refused.to_string().contains("Authorization"), "{refused}");
    drop(strict);
    let plain = Nats::builder().without_jetstream().private()?;
    let answer = request(&plain, "$JS.API.INFO", "")?;
    assert!(answer.contains("503"), "{answer}");
    Ok(())
}

#[test]
fn a_setting_that_the_server_refuses_is_told_with_its_log() {
    let refused = Nats::builder().setting("max_paylood: 4KB").private();
    let text = format!("{:#}", refused.expect_err("no such setting"));
    assert!(text.contains("max_paylood"), "{text}");
}

#[test]
fn the_shared_server_is_one_and_ends_with_its_last_user() -> Result<()> {
    let first = Nats::shared()?;
    let second = Nats::shared()?;
    assert!(Arc::ptr_eq(&first, &second));
    let pid = first.pid();
    drop(first);
    let answer = request(&second, "$JS.API.INFO", "")?;
    assert!(answer.contains("streams"), "{answer}");
    drop(second);
    assert!(pid.is_none_or(|pid| !is_child(pid)));
    Ok(())
}
