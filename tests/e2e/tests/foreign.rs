//! Producers that know nothing of iobox: what they publish is stored once and handled, also when an
//! inbox dies between storing it and telling the broker.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{path::PathBuf, process::Command};

use iobox_testkit::servers::{Origin, Redis};
use support::{
    LONG,
    broker::Broker,
    checker::{Committed, check},
    database::Database,
    log,
    process::Process,
    until,
};
use tokio::task::spawn_blocking;

/// How many messages are published.
const COUNT: usize = 20;
const OPTIONS: [&str; 6] = ["--book", "book", "--note", "note", "--ttl", "1000"];
const PRODUCER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/producer.py");
/// The stream of Redis that the inbox processes read as a topic that they handle.
const STREAM: &str = "e2e:accounts.moved";

#[tokio::test(flavor = "multi_thread")]
async fn what_python_publishes_to_jetstream_is_handled_once() {
    let broker = Broker::jetstream().await;
    let address = broker.address();
    let publish = move || {
        let mut python = Command::new("python3");
        python.arg(PRODUCER).arg(address.ip().to_string());
        python.args([&address.port().to_string(), "e2e.accounts.moved"]);
        printed(python.arg(COUNT.to_string()))
    };
    is_handled_once(&broker, publish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_cli_adds_is_handled_once() {
    let broker = Broker::redis().await;
    let Broker::Redis(server) = &broker else {
        unreachable!("it is a Redis")
    };
    let (client, url) = (redis_cli(server), server.url().to_owned());
    let publish = move || {
        let add = |number: usize| {
            let mut client = Command::new(&client);
            client.args(["-u", &url, "XADD", STREAM, "*", "payload"]);
            let ids = printed(client.arg(number.to_string()));
            // An entry is known by its stream and its id there.
            format!("{STREAM}/{}", ids.join(""))
        };
        (0..COUNT).map(add).collect()
    };
    is_handled_once(&broker, publish).await;
}

/// The client that belongs to the server, or the one in `PATH`.
fn redis_cli(server: &Redis) -> PathBuf {
    let Origin::Started { programs } = server.origin() else {
        return PathBuf::from("redis-cli");
    };
    let clients = ["redis-cli", "valkey-cli"].map(|name| programs.join(name));
    let client = clients.into_iter().find(|client| client.exists());
    client.unwrap_or_else(|| PathBuf::from("redis-cli"))
}

/// Runs a program, which must end well, and returns the lines that it prints.
fn printed(program: &mut Command) -> Vec<String> {
    let output = program.output().expect(
        "this test runs python3 and redis-cli: put them into PATH (apt-get install python3 redis-tools)",
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// Publishes, and kills the inbox that has stored what came and acked nothing.
async fn is_handled_once(broker: &Broker, publish: impl FnOnce() -> Vec<String> + Send + 'static) {
    let database = Database::sqlite().await;
    database.open_effects().await;
    let arguments = broker.arguments();
    let options: Vec<&str> = OPTIONS
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    database.order("stored");
    let mut victim = Process::inbox(&database, "victim", &options);
    victim.line("READING").await;
    let published = spawn_blocking(publish).await.expect("no panic");
    assert_eq!(published.len(), COUNT);
    let stored = victim.line("STORED").await;
    victim.kill();
    for id in stored.split(' ') {
        assert!(published.iter().any(|published| published == id), "{id}");
        assert!(database.row("book", id).await.is_some(), "{id} is stored");
    }

    let heir = Process::inbox(&database, "heir", &options);
    until(LONG, "an end of everything", async || {
        let Some(position) = database.position().await else {
            return false;
        };
        broker.ends_at(&position).await
            && database.handler_stats("book").await.unsettled() == 0
            && database.handler_stats("note").await.unsettled() == 0
    })
    .await;
    heir.stop().await;

    let rows: Vec<Committed> = published
        .into_iter()
        .map(|id| Committed {
            id,
            key: None,
            position: 0,
        })
        .collect();
    let booked = check(&rows, &database.effects("book").await);
    booked.assert_clean();
    assert_eq!(booked.duplicates, 0);
    check(&rows, &log::read(&database.log())).assert_clean();
    for handler in ["book", "note"] {
        assert_eq!(database.handler_stats(handler).await.dead, 0);
    }
    assert_eq!(database.unrouted().await, 0);
}
