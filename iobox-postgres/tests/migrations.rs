//! Migrations: once, together, exported, refused.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use iobox_core::{ErrorKind, message::Draft, queue::Queue, store::Store};
use iobox_postgres::PostgresStore;
use iobox_testkit::hostile;
use sqlx::{AssertSqlSafe, Connection};

use crate::support::{DONE, Owner, Schema, connection, enqueue, number, run};

async fn tables(schema: &Schema) -> i64 {
    let sql = format!(
        "select count(*) from pg_catalog.pg_tables where schemaname = '{}'",
        schema.0
    );
    number(&mut connection().await, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    let before = store.verify().await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.verify().await.unwrap(), before);
    assert_eq!(tables(&schema).await, 15);
}

/// Words of SQL among them, and the longest, behind which no two names of tables are cut to one.
#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_that_is_allowed_works() {
    let schema = Schema::new();
    let prefixes = hostile::taken(hostile::identifiers());
    for prefix in prefixes.iter().filter(|prefix| !prefix.starts_with("pg_")) {
        let store = schema.store(schema.config().table_prefix(prefix)).await;
        store.migrate().await.expect(prefix);
        store.verify().await.expect(prefix);
        enqueue(&store, &[Draft::new("a", "1").key("k").id("i")]).await;
        let owner = Owner::new(&store).await;
        let rows = owner.fetch(10).await.pending;
        assert_eq!(rows.len(), 1, "{prefix}");
        owner.settle(&rows, &DONE).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_programs_migrate_at_once() {
    let schema = Schema::new();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = schema.store(schema.config()).await;
        tasks.push(tokio::spawn(async move {
            store.migrate().await.unwrap();
            store.verify().await.unwrap().origin
        }));
    }
    let mut origins = Vec::new();
    for task in tasks {
        origins.push(task.await.unwrap());
    }
    origins.dedup();
    assert_eq!(origins.len(), 1, "all of them see one origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_makes_nothing() {
    let schema = Schema::new();
    let store = schema.store(schema.config()).await;
    for error in [
        store.verify().await.unwrap_err(),
        store.open(&Queue::Outbox).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("run migrate"), "{error}");
    }
    assert_eq!(tables(&schema).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueueing_without_tables_says_what_to_do() {
    let schema = Schema::new();
    let store = schema.store(schema.config()).await;
    let mut connection = connection().await;
    let mut tx = connection.begin().await.unwrap();
    let draft = Draft::new("a", "b");
    let error = iobox_core::store::Enqueue::enqueue(store.as_ref(), &mut tx, &[draft])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("run migrate"), "{error}");
    // The caller's transaction was not touched.
    assert_eq!(number(&mut tx, "select 1::bigint").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_tables_are_refused() {
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    let newer = format!(
        "insert into \"{}\".migration (version, name) values (1000, 'later')",
        schema.0
    );
    run(&mut connection().await, newer).await;
    for error in [
        store.migrate().await.unwrap_err(),
        store.verify().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tables_are_refused_until_they_are_migrated() {
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    let mut person = connection().await;
    let older = format!(
        "delete from \"{0}\".migration where version >= 3;
         drop view \"{0}\".outbox;
         drop function \"{0}\".timeline();
         drop table \"{0}\".cursor, \"{0}\".settled;
         alter table \"{0}\".message drop column xid;
         alter table \"{0}\".meta drop column cluster;
         drop table \"{0}\".handler, \"{0}\".subscription, \"{0}\".routing, \"{0}\".received,
           \"{0}\".inbox, \"{0}\".admitted, \"{0}\".source;
         drop sequence \"{0}\".received_seq, \"{0}\".inbox_seq",
        schema.0
    );
    run(&mut person, older).await;
    let error = store.verify().await.unwrap_err();
    assert!(error.to_string().contains("run migrate"), "{error}");
    store.migrate().await.unwrap();
    store.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partition_count_is_refused_and_changes_nothing() {
    let schema = Schema::new();
    schema.migrated(8).await;
    let other = schema.store(schema.config().partitions(16)).await;
    for error in [
        other.migrate().await.unwrap_err(),
        other.verify().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let text = other.verify().await.unwrap_err().to_string();
    assert!(text.contains('8') && text.contains("16"), "{text}");
    let sql = format!("select count(*) from \"{}\".partition", schema.0);
    assert_eq!(number(&mut connection().await, sql).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exported_script_makes_the_same_tables() {
    let schema = Schema::new();
    let config = schema.config().table_prefix("orders_").build().unwrap();
    let script = PostgresStore::migration_sql(&config);
    let mut person = connection().await;
    for _ in 0..2 {
        sqlx::raw_sql(AssertSqlSafe(script.clone()))
            .execute(&mut person)
            .await
            .unwrap();
    }
    let store = schema.store(schema.config().table_prefix("orders_")).await;
    store.verify().await.unwrap();
    enqueue(&store, &[Draft::new("a", "b")]).await;
    let sql = format!("select count(*) from \"{}\".orders_message", schema.0);
    assert_eq!(number(&mut person, sql).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_share_a_schema() {
    let schema = Schema::new();
    let mut origins = Vec::new();
    for prefix in ["a_", "b_", ""] {
        let store = schema.store(schema.config().table_prefix(prefix)).await;
        store.migrate().await.unwrap();
        origins.push(store.verify().await.unwrap().origin);
    }
    origins.sort_unstable();
    origins.dedup();
    assert_eq!(origins.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_leaves_everything_as_it_was() {
    let schema = Schema::new();
    let mut person = connection().await;
    let theirs = format!(
        "create schema \"{0}\"; create table \"{0}\".message (x integer);
         insert into \"{0}\".message values (7)",
        schema.0
    );
    run(&mut person, theirs).await;
    let store = schema.store(schema.config()).await;
    let error = store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("42P07"), "{error}");
    let sql = format!("select x::bigint from \"{}\".message", schema.0);
    assert_eq!(number(&mut person, sql).await, 7);
    assert_eq!(tables(&schema).await, 1, "nothing else was made");
    assert!(store.verify().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_migration_runs_to_its_end() {
    let schema = Schema::new();
    let store = schema.store(schema.config()).await;
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(5), store.migrate()).await;
    drop(dropped);
    // Waits for the one under way, and finds it done or does it.
    store.migrate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_sql_function_follow_the_last_migration() {
    let schema = Schema::new();
    schema.migrated(16).await;
    let config = schema.config().payload_max(10).wake_up(false);
    schema.store(config).await.migrate().await.unwrap();
    let sql = format!(
        "select count(*) from \"{}\".meta where payload_max = 10 and not wake_up",
        schema.0
    );
    assert_eq!(number(&mut connection().await, sql).await, 1);
}
