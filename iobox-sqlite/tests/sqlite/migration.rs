//! Migrations of one file: repeated, concurrent, newer than the program, exported.

use iobox_core::{ErrorKind, message::Draft, queue::Queue, store::Store};
use iobox_sqlite::{Config, SqliteStore, migration_sql};

use super::fixture::{File, enqueue, migrated, open, try_enqueue};

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let (file, store) = migrated().await;
    let before = store.open(&Queue::Outbox).await.expect("open");
    enqueue(&store, vec![Draft::new("a", "1")]).await;
    store.migrate().await.expect("again");
    let another = open(file.config());
    another.migrate().await.expect("again");
    assert_eq!(another.open(&Queue::Outbox).await.expect("open"), before);
    another.verify().await.expect("fitting tables");
    assert_eq!(file.number("SELECT count(*) FROM iobox_outbox"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_there_say_run_migrate() {
    let file = File::new();
    let store = open(file.config());
    for error in [
        store.open(&Queue::Outbox).await.expect_err("no tables"),
        store.verify().await.expect_err("no tables"),
        try_enqueue(&store, vec![Draft::new("a", "1")])
            .await
            .expect_err("no tables"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("run migrate"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_program_are_refused() {
    let (file, store) = migrated().await;
    file.edit("INSERT INTO iobox_migration VALUES (1000, 0)");
    for error in [
        store.open(&Queue::Outbox).await.expect_err("newer"),
        store.verify().await.expect_err("newer"),
        store.migrate().await.expect_err("newer"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("newer"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tables_are_refused_until_they_are_migrated() {
    let (file, store) = migrated().await;
    file.edit("DELETE FROM iobox_migration WHERE version > 2; DROP TABLE iobox_source");
    for error in [
        store.open(&Queue::Outbox).await.expect_err("older"),
        store.verify().await.expect_err("older"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("run migrate"), "{error}");
    }
    store.migrate().await.expect("migrate");
    store.verify().await.expect("fitting tables");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions_is_refused() {
    let (file, _store) = migrated().await;
    let store = open(file.config().partitions(8));
    for error in [
        store.open(&Queue::Outbox).await.expect_err("a misfit"),
        store.migrate().await.expect_err("a misfit"),
        try_enqueue(&store, vec![Draft::new("a", "1")])
            .await
            .expect_err("a misfit"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains('8') && text.contains("16"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exported_migration_makes_the_same_tables() {
    let (file, _store) = migrated().await;
    let (by_hand, other) = (File::new(), File::new());
    let export = migration_sql(&by_hand.config().build().expect("a configuration"));
    by_hand.edit(&export);
    by_hand.edit(&export);
    other.edit(&export);
    let schema = |file: &File| -> Vec<String> {
        let conn = file.connect();
        let mut select = conn
            .prepare("SELECT coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
            .expect("a statement");
        let rows = select.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    assert_eq!(schema(&by_hand), schema(&file));
    let store = open(by_hand.config());
    store.verify().await.expect("fitting tables");
    let first = store.open(&Queue::Outbox).await.expect("open").origin;
    store.migrate().await.expect("nothing to do");
    assert_eq!(
        store.open(&Queue::Outbox).await.expect("open").origin,
        first
    );
    assert_eq!(first.as_uuid().get_version_num(), 4);
    let second = open(other.config())
        .open(&Queue::Outbox)
        .await
        .expect("open");
    assert_ne!(second.origin, first, "drawn where it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_an_index_that_is_gone() {
    let (file, store) = migrated().await;
    file.edit("DROP INDEX iobox_outbox_due");
    let error = store.verify().await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_in_one_file_are_two_outboxes() {
    let (file, store) = migrated().await;
    let billing = open(file.config().table_prefix("billing_"));
    billing.migrate().await.expect("migrate");
    enqueue(&store, vec![Draft::new("a", "1").id("same")]).await;
    enqueue(&billing, vec![Draft::new("a", "1").id("same")]).await;
    assert_eq!(file.number("SELECT count(*) FROM iobox_outbox"), 1);
    assert_eq!(file.number("SELECT count(*) FROM billing_outbox"), 1);
    let one = store.open(&Queue::Outbox).await.expect("open");
    let two = billing.open(&Queue::Outbox).await.expect("open");
    assert_ne!(one.origin, two.origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_refused() {
    let file = File::new();
    std::fs::write(
        file.path(),
        "a text of some length that is no database at all",
    )
    .expect("a file");
    let error = SqliteStore::open(Config::new(file.path())).expect_err("no database");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let nowhere = SqliteStore::open(Config::new(file.path().join("no/such/folder.db")));
    assert_eq!(
        nowhere.expect_err("no folder").kind(),
        ErrorKind::Unavailable
    );
    let memory = SqliteStore::open(Config::new(":memory:"));
    assert_eq!(memory.expect_err("no file").kind(), ErrorKind::Invalid);
}
