//! What stays, and what is refused.

use iobox_core::{
    ErrorKind, Router,
    inbox::{Delivery, SourceName},
    message::Draft,
    queue::Queue,
    store::Receive,
};
use iobox_postgres::MovedTable;
use iobox_testkit::suite::inbox::support::{Notes, finish, inbox};

use crate::{
    entries, moved,
    support::{Ancestor, Schema},
};

/// A row that cannot be one of ours stays and is named, with the reason and without its content; once it
/// is put right, another move takes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_ours_stays() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run(
            "insert into {s}.__outbox_table (id, status, event_type, payload, created_at) values
               ('space', null, 'a secret', '1', '2024-01-01'),
               ('large', null, 'a', to_jsonb(repeat('x', 262143)), '2024-01-02'),
               ('fits', null, 'a', to_jsonb(repeat('x', 262142)), '2024-01-03'),
               ('odd', 'paused', 'a', '1', '2024-01-04'),
               ('old', 'done', 'a.', '1', '2024-01-05'),
               ('busy', 'progress', 'a', '1', '2024-01-06'),
               ('', null, 'a', '1', '2024-01-07'),
               ('fine', null, 'a', '1', '2024-01-08');
             insert into {s}.__inbox_table (id, status, event_type, handler_key, payload, created_at)
             values
               ('1', null, 'a', 'h', '1', '2024-01-01'),
               ('1', null, 'a', 'other', '2', '2024-01-02'),
               ('1', null, 'b', 'third', '1', '2024-01-03'),
               ('2', null, 'a', 'a handler', '1', '2024-01-04'),
               ('3', 'done', 'a', 'h', convert_to(repeat('x', 262145), 'UTF8'), '2024-01-05')",
        )
        .await;
    let options = theirs.options().take_progress(false).batch(1);
    let [outbox, inbox] = moved(&store, &options).await;
    assert_eq!((outbox.moved(), outbox.left, outbox.remaining), (2, 6, 6));
    let left = |table: &MovedTable| -> Vec<_> {
        let rows = table.left_rows.iter();
        rows.map(|row| (row.id.clone(), row.reason.clone()))
            .collect()
    };
    for ((one, reason), (id, text)) in left(&outbox).iter().zip([
        ("space", "topic has ' ' at byte 1"),
        ("large", "payload has 262145 bytes; at most 262144"),
        ("odd", "status"),
        ("old", "empty token"),
        ("busy", "progress"),
        ("", "id is empty"),
    ]) {
        assert_eq!(one, id);
        assert!(reason.contains(text), "{one}: {reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
    assert_eq!((inbox.moved(), inbox.left, inbox.remaining), (1, 4, 4));
    let reasons = [
        "another topic",
        "another topic",
        "name of a handler",
        "payload has",
    ];
    for ((one, reason), text) in left(&inbox).iter().zip(reasons) {
        assert!(reason.contains(text), "{one}: {reason}");
    }
    assert_eq!(inbox.left_rows[0].handler.as_deref(), Some("other"));

    theirs
        .run(
            "update {s}.__outbox_table set event_type = 'a' where id in ('space', 'old');
             update {s}.__outbox_table set status = null where id = 'odd';
             update {s}.__outbox_table set id = 'empty' where id = '';
             update {s}.__outbox_table set payload = '1' where id = 'large';
             update {s}.__inbox_table set handler_key = 'handler' where id = '2';
             update {s}.__inbox_table set id = '1-' || handler_key where id = '1';
             update {s}.__inbox_table set payload = '1' where id = '3'",
        )
        .await;
    let report = store.move_in(&theirs.options()).await.expect("a move");
    assert!(report.is_complete());
    assert_eq!(entries(&store, &Queue::Outbox).await.len(), 8);
    assert_eq!(theirs.number("select count(*) from {s}.inbox").await, 5);
}

/// A message that was received again by the new inbox, and that nobody is subscribed to yet, gets no
/// second row: its old row stays until its handler is subscribed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_kept_unrouted_is_not_handled_twice() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs.write_inbox("1", "orders", "a").await;
    let source = SourceName::new("shop").expect("a source");
    let delivery = Delivery::foreign(&Draft::new("orders", "1").id("1")).expect("one");
    store.receive(&source, &[delivery]).await.expect("receive");
    let [_, first] = moved(&store, &theirs.options()).await;
    assert_eq!((first.moved(), first.left), (0, 1));
    assert!(first.left_rows[0].reason.contains("unrouted"));

    let notes = Notes::new();
    let mut router = Router::new();
    router.on("orders", "a", notes.clone());
    let inbox = inbox(&*store, router);
    inbox.subscribe().await.expect("subscribe");
    let [_, second] = moved(&store, &theirs.options()).await;
    assert_eq!((second.known, second.left, second.remaining), (1, 0, 0));
    finish(inbox.spawn()).await;
    assert_eq!(
        (notes.handled(), notes.calls("1")),
        (vec!["1".to_owned()], 1)
    );
}

/// Options outside of their bounds are refused, and so is a database without the tables.
#[tokio::test(flavor = "multi_thread")]
async fn options_are_checked() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let theirs = Ancestor::of(&schema).await;
    let options = || theirs.options();
    for (options, text) in [
        (options().schema("a\".b"), "schema"),
        (options().outbox_table("x; drop table y"), "outbox_table"),
        (options().inbox_table(""), "inbox_table"),
        (options().batch(0), "batch"),
        (options().batch(10_001), "batch"),
        (options().time_zone("'"), "time_zone"),
        (options().time_zone("Middle/Earth"), "time_zone"),
        (options(), "name the schema"),
    ] {
        let error = store.move_in(&options).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}: {error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    // The tables of an old version of go-iobox have fewer columns.
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run("alter table {s}.__inbox_table drop column attempt")
        .await;
    let error = store.move_in(&options()).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("its own migrations"), "{error}");
    // One of the two tables is enough.
    theirs.run("drop table {s}.__inbox_table").await;
    let report = store.move_in(&theirs.options()).await.expect("a move");
    assert!(report.outbox.is_some() && report.inbox.is_none());
}
