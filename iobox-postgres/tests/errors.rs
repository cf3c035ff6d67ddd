//! Errors that a real server gives, each with the kind that `docs/errors.md` says.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::time::Duration;

use iobox_core::{
    Error, ErrorKind, Result,
    message::Draft,
    queue::Queue,
    store::{Enqueue as _, InstanceId, RenewRequest, Store as _},
};
use iobox_postgres::{ConfigBuilder, PostgresStore};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::support::{Owner, Schema, connection, enqueue, number, options, run};

#[track_caller]
fn is(error: &Error, kind: ErrorKind, code: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(code), "{text}");
}

async fn store_at(at: PgConnectOptions, config: ConfigBuilder) -> Result<PostgresStore> {
    PostgresStore::connect(at, config.build().expect("a configuration")).await
}

async fn renew(store: &PostgresStore) -> Result<()> {
    let request = RenewRequest {
        queue: Queue::Outbox,
        instance: InstanceId::new(Uuid::now_v7()),
        ttl: Duration::from_secs(10),
        register: true,
        in_flight: 0,
    };
    store.renew(&request).await.map(|_| ())
}

fn named(id: &str) -> [Draft; 1] {
    [Draft::new("t", "x").id(id)]
}

/// A role that may log in, removed at the end.
struct Role {
    name: String,
    person: PgConnection,
}

impl Role {
    async fn new(more: &str) -> Self {
        let name = format!("r_{}", Uuid::now_v7().simple());
        let mut person = connection().await;
        run(
            &mut person,
            format!("create role {name} login password 'p' {more}"),
        )
        .await;
        Self { name, person }
    }

    fn options(&self) -> PgConnectOptions {
        options().username(&self.name).password("p")
    }

    async fn remove(mut self) {
        run(&mut self.person, format!("drop role {}", self.name)).await;
    }
}

#[tokio::test]
async fn a_serialization_failure_is_a_conflict() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let mut one = connection().await;
    let mut tx = one
        .begin_with("begin isolation level serializable")
        .await
        .expect("begin");
    let rows = format!("select count(*) from \"{}\".message", schema.0);
    assert_eq!(number(&mut tx, rows).await, 0);
    enqueue(&store, &named("x")).await;
    let error = store
        .enqueue(&mut tx, &named("x"))
        .await
        .expect_err("an old snapshot");
    is(&error, ErrorKind::Conflict, "40001");
    // What comes next in the same transaction is one too.
    let error = store
        .enqueue(&mut tx, &named("y"))
        .await
        .expect_err("aborted");
    is(&error, ErrorKind::Conflict, "25P02");
}

#[tokio::test]
async fn a_deadlock_is_a_conflict_of_one_and_the_other_goes_on() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let (mut one, mut two) = (connection().await, connection().await);
    let mut first = one.begin().await.expect("begin");
    let mut second = two.begin().await.expect("begin");
    store.enqueue(&mut first, &named("x")).await.expect("x");
    store.enqueue(&mut second, &named("y")).await.expect("y");
    let (drafts_y, drafts_x) = (named("y"), named("x"));
    let crossing = async {
        let ended = store.enqueue(&mut first, &drafts_y).await;
        // The other one waits for this end.
        first.rollback().await.expect("rollback");
        ended
    };
    let crossed = async {
        let ended = store.enqueue(&mut second, &drafts_x).await;
        second.rollback().await.expect("rollback");
        ended
    };
    let (crossing, crossed) = tokio::join!(crossing, crossed);
    let (victims, winners): (Vec<_>, Vec<_>) = [crossing, crossed]
        .into_iter()
        .partition(std::result::Result::is_err);
    assert_eq!((victims.len(), winners.len()), (1, 1));
    for victim in victims {
        is(
            &victim.expect_err("a deadlock"),
            ErrorKind::Conflict,
            "40P01",
        );
    }
}

#[tokio::test]
async fn a_connection_limit_is_waited_for() {
    let role = Role::new("connection limit 0").await;
    let schema = Schema::new();
    let refused = store_at(role.options(), schema.config()).await;
    is(
        &refused.expect_err("no room"),
        ErrorKind::Unavailable,
        "53300",
    );
    role.remove().await;
}

#[tokio::test]
async fn revoked_credentials_need_a_person() {
    let schema = Schema::new();
    schema.migrated(1).await;
    let mut role = Role::new("").await;
    let store = store_at(role.options(), schema.config().partitions(1)).await;
    let store = store.expect("it may log in");
    // It may log in, and nothing else.
    is(
        &renew(&store).await.expect_err("no privilege"),
        ErrorKind::Invalid,
        "42501",
    );
    let gone = format!("alter role {} nologin", role.name);
    run(&mut role.person, gone).await;
    let ended = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{}'",
        role.name
    );
    number(&mut role.person, ended).await;
    // What a session that was ended says comes first.
    let error = renew(&store).await.expect_err("no session");
    let error = if error.kind() == ErrorKind::Unavailable {
        renew(&store).await.expect_err("no login")
    } else {
        error
    };
    is(&error, ErrorKind::Invalid, "28000");
    store.close().await;
    role.remove().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_needs_a_person() {
    let schema = Schema::new();
    let at = options().database("nobody_made_this");
    let refused = store_at(at, schema.config()).await;
    is(
        &refused.expect_err("no database"),
        ErrorKind::Invalid,
        "3D000",
    );
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_waited_for() {
    let schema = Schema::new();
    schema.migrated(1).await;
    let at = options().options([("default_transaction_read_only", "on")]);
    let store = store_at(at, schema.config().partitions(1))
        .await
        .expect("a store");
    is(
        &renew(&store).await.expect_err("no writes"),
        ErrorKind::Unavailable,
        "25006",
    );
}

/// Fetches while somebody holds the tables, through a store with these timeouts.
async fn fetch_from_locked_tables(lock: Duration, statement: Duration) -> Error {
    let schema = Schema::new();
    let config = schema
        .config()
        .partitions(1)
        .lock_timeout(lock)
        .statement_timeout(statement);
    let store = schema.store(config).await;
    store.migrate().await.expect("migrate");
    let owner = Owner::new(&store).await;
    let mut person = connection().await;
    let mut holding = person.begin().await.expect("begin");
    let locked = format!(
        "lock table \"{}\".message in access exclusive mode",
        schema.0
    );
    run(&mut holding, locked).await;
    let error = store.fetch(&owner.request(10)).await.expect_err("locked");
    holding.rollback().await.expect("rollback");
    owner.fetch(10).await;
    error
}

#[tokio::test]
async fn a_lock_timeout_is_a_conflict() {
    let error = fetch_from_locked_tables(Duration::from_millis(50), Duration::from_secs(30)).await;
    is(&error, ErrorKind::Conflict, "55P03");
}

#[tokio::test]
async fn a_statement_timeout_is_waited_for() {
    let error = fetch_from_locked_tables(Duration::from_secs(30), Duration::from_millis(100)).await;
    is(&error, ErrorKind::Unavailable, "57014");
}

#[tokio::test]
async fn a_session_that_is_ended_is_waited_for() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let (mut person, mut other) = (connection().await, connection().await);
    let mut holding = person.begin().await.expect("begin");
    let locked = format!(
        "lock table \"{}\".message in access exclusive mode",
        schema.0
    );
    run(&mut holding, locked).await;
    let request = owner.request(10);
    let ending = async {
        let end = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where wait_event_type = 'Lock' and query like '%\"{}\"%'",
            schema.0
        );
        while number(&mut other, end.clone()).await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let (fetched, ()) = tokio::join!(store.fetch(&request), ending);
    is(
        &fetched.expect_err("ended"),
        ErrorKind::Unavailable,
        "57P01",
    );
    holding.rollback().await.expect("rollback");
    owner.fetch(10).await;
}

#[tokio::test]
async fn a_server_out_of_room_for_temporary_files_is_waited_for() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    // Superusers set the one; both hold for this session of an application alone.
    let small = [("temp_file_limit", "0"), ("work_mem", "64kB")];
    let mut cramped = options()
        .options(small)
        .connect()
        .await
        .expect("a connection");
    let drafts: Vec<_> = (0..5_000)
        .map(|n| Draft::new("t", "x".repeat(200)).key(n % 7))
        .collect();
    let mut tx = cramped.begin().await.expect("begin");
    let error = store.enqueue(&mut tx, &drafts).await.expect_err("no room");
    is(&error, ErrorKind::Unavailable, "53400");
    drop(tx);
    enqueue(&store, &drafts[..10]).await;
    let rows = format!("select count(*) from \"{}\".message", schema.0);
    assert_eq!(
        number(&mut connection().await, rows).await,
        10,
        "all or nothing"
    );
}
