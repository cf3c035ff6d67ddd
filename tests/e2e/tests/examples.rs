//! The examples run, as a newcomer would run them, and say what they promise.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::servers::{Nats, Postgres, Redis, unique_schema};

/// Runs `cargo run` with these arguments at the root of the workspace; returns what it printed.
///
/// Each example gives up by itself, so nothing here waits for ever.
fn cargo_run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked"])
        .args(arguments)
        .current_dir(root)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "cargo run {arguments:?} ended with {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(stdout.into_owned())
}

/// Fails unless every one of `phrases` was printed.
fn says(output: &str, phrases: &[&str]) -> Result<()> {
    for phrase in phrases {
        ensure!(
            output.contains(phrase),
            "{phrase:?} is missing in\n{output}"
        );
    }
    Ok(())
}

#[test]
fn quickstart_publishes_what_was_committed() -> Result<()> {
    let output = cargo_run(&["--example", "quickstart"], &[])?;
    says(
        &output,
        &[
            "committed      450",
            "rolled back     50",
            "published      450  messages",
            "ok  nothing lost",
            "ok  nothing invented",
            "ok  in order for each of 20 customers",
            "ok  effects = messages: 450 reservations",
            "the label came at attempt 3",
            "ok  1 dead letter, kept with its payload",
        ],
    )
}

#[test]
fn quickstart_survives_a_kill() -> Result<()> {
    let output = cargo_run(&["--example", "quickstart", "--", "--crash"], &[])?;
    says(
        &output,
        &[
            "the first relay, by SIGKILL",
            "by the second relay",
            "ok  nothing lost",
            "ok  nothing invented",
            "ok  in order for each of 20 customers",
            "messages arrived twice, of at most 40",
            "the first warehouse, by SIGKILL",
            "ok  effects = messages: 450 reservations",
            "ok  1 dead letter, kept with its payload",
        ],
    )
}

#[test]
fn quickstart_refuses_what_it_does_not_know() {
    let refused = cargo_run(&["--example", "quickstart", "--", "--crush"], &[]);
    let error = refused.expect_err("an unknown flag").to_string();
    assert!(error.contains("usage: quickstart [--crash]"), "{error}");
}

#[test]
fn a_custom_publisher_writes_lines() -> Result<()> {
    let output = cargo_run(&["--example", "custom_publisher"], &[])?;
    says(
        &output,
        &["100 lines are in the file", "the payload is not JSON"],
    )
}

#[test]
fn a_custom_store_survives_its_process() -> Result<()> {
    let output = cargo_run(&["--example", "custom_store"], &[])?;
    says(
        &output,
        &["The next one finds 50", "50 are published, in order"],
    )
}

#[test]
fn orders_on_postgres_are_published_in_order() -> Result<()> {
    let postgres = Postgres::shared()?;
    let schema = unique_schema("orders_example");
    let environment = [
        ("IOBOX_TEST_POSTGRES_URL", postgres.url()),
        ("IOBOX_SCHEMA", schema.as_str()),
    ];
    // The second run finds the tables and the history of the first.
    for _ in 0..2 {
        let output = cargo_run(&["-p", "orders_postgres"], &environment)?;
        says(
            &output,
            &[
                "100 orders of 5 accounts",
                "ok  every one was published, and those of an account in order",
                "ok  the relay has drained",
            ],
        )?;
    }
    Ok(())
}

#[test]
fn orders_on_sqlite_arrive_in_redis_in_order() -> Result<()> {
    let redis = Redis::shared()?;
    let prefix = format!("{}:", unique_schema("orders_example"));
    let environment = [
        ("IOBOX_TEST_REDIS_URL", redis.url()),
        ("IOBOX_PREFIX", prefix.as_str()),
    ];
    // The second run finds the stream of the first.
    for _ in 0..2 {
        let output = cargo_run(&["-p", "orders_sqlite_redis"], &environment)?;
        says(
            &output,
            &[
                "100 orders of 5 accounts",
                "ok  every one is in Redis, and those of an account in order",
                "ok  the relay has drained",
            ],
        )?;
    }
    Ok(())
}

#[test]
fn orders_on_postgres_arrive_in_jetstream_in_order() -> Result<()> {
    let (postgres, nats) = (Postgres::shared()?, Nats::shared()?);
    let schema = unique_schema("orders_example");
    let environment = [
        ("IOBOX_TEST_POSTGRES_URL", postgres.url()),
        ("IOBOX_TEST_NATS_URL", nats.url()),
        ("IOBOX_SCHEMA", schema.as_str()),
    ];
    // The second run finds the tables and the stream of the first.
    for _ in 0..2 {
        let output = cargo_run(&["-p", "orders_postgres_nats"], &environment)?;
        says(
            &output,
            &[
                "100 orders of 5 accounts",
                "ok  every one is in JetStream, and those of an account in order",
                "ok  the relay has drained",
            ],
        )?;
    }
    Ok(())
}

#[test]
fn two_services_balance_their_books() -> Result<()> {
    let (database, broker) = (Postgres::shared()?, Nats::shared()?);
    let environment = [
        ("IOBOX_TEST_POSTGRES_URL", database.url()),
        ("IOBOX_TEST_NATS_URL", broker.url()),
        ("IOBOX_SCHEMA", &unique_schema("services")),
    ];
    // The second run finds the tables and the stream of the first.
    for _ in 0..2 {
        let output = cargo_run(&["-p", "two_services"], &environment)?;
        says(
            &output,
            &[
                "300 orders were placed while services were killed",
                "ok  every order came to its end",
                "ok  the goods balance",
                "ok  the money balances",
            ],
        )?;
    }
    Ok(())
}
