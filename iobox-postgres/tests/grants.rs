//! The roles that run programs have what their duty needs, and no more.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use iobox_core::{message::Draft, store::Enqueue as _};
use iobox_postgres::{Duty, PostgresStore};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::support::{Schema, connection, options, run};

/// Statements, and who may run them: the writer, the worker, the viewer. `S` is the schema.
///
/// That the worker may do all that a store does, the conformance suite shows.
const MATRIX: [(&str, [bool; 3]); 27] = [
    (
        "select S.enqueue('t', 'k', 'x', '{}', 'mine')",
        [true, true, false],
    ),
    ("select version from S.migration", [true, true, true]),
    ("select partitions from S.meta", [true, true, true]),
    (
        "select id, state, reason from S.outbox",
        [false, false, true],
    ),
    ("select seq, id from S.message", [false, true, false]),
    ("select payload from S.message", [false, true, false]),
    ("select payload from S.received", [false, true, false]),
    ("select enqueued_at from S.id", [false, true, false]),
    ("select id from S.id", [true, true, false]),
    ("select owner, epoch from S.partition", [false, true, true]),
    ("select * from S.instance", [false, true, true]),
    ("select * from S.source", [false, true, true]),
    ("update S.message set state = 3", [false, true, false]),
    (
        "update S.partition set epoch = epoch + 1",
        [false, true, false],
    ),
    ("update S.meta set payload_max = 1", [false, false, false]),
    ("update S.migration set version = 1", [false, false, false]),
    ("delete from S.message", [false, true, false]),
    ("delete from S.id", [false, true, false]),
    ("delete from S.migration", [false, false, false]),
    (
        "insert into S.message (partition, id, topic, headers, payload, size, enqueued_at, state)
         values (0, 'x', 't', '[]', '', 1, now(), 4)",
        [false, true, false],
    ),
    (
        "insert into S.instance (queue, id, started, expires, in_flight)
         values ('outbox', gen_random_uuid(), now(), now(), 0)",
        [false, true, false],
    ),
    ("truncate S.message", [false, false, false]),
    ("drop table S.message", [false, false, false]),
    ("create table S.mine ()", [false, false, false]),
    (
        "alter table S.message add column mine text",
        [false, false, false],
    ),
    (
        "create or replace function S.clock() returns timestamptz language sql as 'select now()'",
        [false, false, false],
    ),
    (
        "lock table S.message in access exclusive mode",
        [false, true, false],
    ),
];

/// Whether a role may run a statement, which is rolled back.
async fn may(at: &PgConnectOptions, statement: &str) -> bool {
    let mut connection = PgConnection::connect_with(at).await.expect("it may log in");
    let mut tx = connection.begin().await.expect("begin");
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *tx)
        .await;
    match done {
        Ok(_) => true,
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
            false
        }
    }
}

#[tokio::test]
async fn each_role_may_do_what_its_duty_needs_and_no_more() {
    let schema = Schema::new();
    schema.migrated(4).await;
    let mut roles = Vec::new();
    for duty in [Duty::Write, Duty::Work] {
        roles.push(schema.role(duty).await);
    }
    // The third one has a name of which each letter must be quoted.
    let viewer = format!("{} \"v\"", schema.0);
    let quoted = viewer.replace('"', "\"\"");
    let config = schema.config().build().expect("a configuration");
    let script = PostgresStore::grants_sql(&config, Duty::View, &viewer).expect("a script");
    let mut person = connection().await;
    run(
        &mut person,
        format!("create role \"{quoted}\" login password 'p'"),
    )
    .await;
    run(&mut person, script.clone()).await;
    run(&mut person, script).await;
    roles.push(options().username(&viewer).password("p"));

    let mut wrong = Vec::new();
    for (statement, allowed) in MATRIX {
        let statement = statement.replace("S.", &format!("\"{}\".", schema.0));
        for (at, expected) in roles.iter().zip(allowed) {
            if may(at, &statement).await != expected {
                wrong.push(format!("{}: {statement}", at.get_username()));
            }
        }
    }
    run(
        &mut person,
        format!("drop owned by \"{quoted}\"; drop role \"{quoted}\""),
    )
    .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The library writes other statements than the SQL function, and brings ids of its own or none.
#[tokio::test]
async fn a_writer_enqueues_by_the_library() {
    let schema = Schema::new();
    schema.migrated(4).await;
    let writer = schema.role(Duty::Write).await;
    let store = schema
        .store_as(writer.clone(), schema.config().partitions(4))
        .await;
    store.verify().await.expect("it sees the version");
    let mut application = PgConnection::connect_with(&writer)
        .await
        .expect("it may log in");
    let mut tx = application.begin().await.expect("begin");
    let drafts = [
        Draft::new("t", "x"),
        Draft::new("t", "y").id("mine").key("k"),
    ];
    store.enqueue(&mut tx, &drafts).await.expect("enqueue");
    tx.commit().await.expect("commit");
    let error = store
        .migrate()
        .await
        .expect_err("it owns nothing")
        .to_string();
    assert!(error.contains("42501"), "{error}");
}
