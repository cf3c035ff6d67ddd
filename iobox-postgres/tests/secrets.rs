//! Secrets: a password, and what rows hold, is in no text that this crate makes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{fmt::Debug, str::FromStr};

use iobox_core::{Error, ErrorKind, message::Draft, queue::Queue, store::Store};
use iobox_postgres::{Config, PostgresStore};
use sqlx::postgres::PgConnectOptions;

use crate::support::{Schema, connection, enqueue, options, run};

const SECRET: &str = "hunter2";

fn assert_silent(error: &Error) {
    let mut texts = vec![
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
    ];
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        texts.push(error.to_string());
        texts.push(format!("{error:?}"));
        source = error.source();
    }
    for text in texts {
        assert!(!text.contains(SECRET), "{text}");
    }
}

fn assert_debug_silent(value: &impl Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_output_holds_no_password() {
    let schema = Schema::new();
    let config = schema.config().build().unwrap();
    let store = PostgresStore::connect(options().password(SECRET), config)
        .await
        .unwrap();
    store.migrate().await.unwrap();
    store.open(&Queue::Outbox).await.unwrap();
    assert_debug_silent(&store);
    assert_debug_silent(store.config());
    let wake_up = store.wake_up().unwrap();
    assert_debug_silent(&wake_up);
    let armed = wake_up.arm(&Queue::Outbox).await.unwrap();
    assert_debug_silent(&armed);
    armed.disarm().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_hold_no_password() {
    for url in [
        format!("postgres://app:{SECRET}@127.0.0.1:1/x"),
        format!("postgres://app:{SECRET}@127.0.0.1:port/x"),
        format!("postgres://app:{SECRET}@[x/x"),
        SECRET.to_owned(),
        format!("postgres://app:{SECRET}@db.example.test/x"),
        format!("postgres://app:{SECRET}@localhost:1/x?sslmode={SECRET}"),
    ] {
        let error = PostgresStore::connect_url(&url, Config::default())
            .await
            .unwrap_err();
        assert_silent(&error);
    }
    let options = PgConnectOptions::from_str("postgres://nobody@127.0.0.1:1/x").unwrap();
    let error = PostgresStore::connect(options.password(SECRET), Config::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_silent(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_server_hold_no_values() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    // A constraint of somebody else's: its error quotes the whole row.
    let sql = format!(
        "alter table \"{}\".message add constraint theirs check (topic <> 'refused')",
        schema.0
    );
    run(&mut connection().await, sql).await;
    let mut application = connection().await;
    let draft = Draft::new("refused", SECRET).key(SECRET);
    let error = iobox_core::store::Enqueue::enqueue(store.as_ref(), &mut application, &[draft])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_silent(&error);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("theirs"), "{source}");
    enqueue(&store, &[Draft::new("taken", SECRET)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_in_clear_text_is_refused() {
    let url = "postgres://app@db.example.test/x";
    for mode in [
        "",
        "?sslmode=prefer",
        "?sslmode=require",
        "?sslmode=verify-ca",
    ] {
        let error = PostgresStore::connect_url(&format!("{url}{mode}"), Config::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("verify-full"), "{error}");
    }
}
