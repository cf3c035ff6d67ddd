//! What arrives: statuses, order, content and times, and what becomes of it then.

use std::sync::Arc;

use iobox_core::{
    Relay, Router,
    inbox::{Delivery, Received, SourceName},
    memory::MemoryBroker,
    message::Draft,
    queue::Queue,
    store::{Entry, Receive, State, Subscribe},
};
use iobox_postgres::MovedTable;
use iobox_testkit::suite::{
    inbox::support::{Notes, finish, inbox, name, queue, quick},
    support::PATIENCE,
};

use crate::{
    entries, moved, payload, seconds,
    support::{self, Ancestor, Schema},
};

/// Each row of their outbox becomes one of ours, in the order of their times and ids, in the state that its
/// status stands for; their table is empty then.
#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_arrives_with_its_statuses_and_its_order() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run(
            "insert into {s}.__outbox_table (id, status, event_type, payload, created_at, updated_at)
             values
               ('d', 'done', 'orders', '1', '2024-01-01 00:00:00', '2024-01-02 00:00:10'),
               ('b2', null, 'orders', '{\"b\": 1,   \"a\": [1.50, null]}', '2024-01-03', '2024-01-03'),
               ('b1', null, 'orders', '\"x\"', '2024-01-03', '2024-01-03'),
               ('p', 'progress', 'orders', '2', '2024-01-02', '2024-01-02'),
               ('f', 'failed', 'bills', '3', '2024-01-04', '2024-01-04'),
               ('x', 'dead', 'bills', '4', '2024-01-05', '2024-01-06'),
               ('future', null, 'bills', '5', 'infinity', 'infinity')",
        )
        .await;
    let [outbox, inbox] = moved(&store, &theirs.options().batch(2)).await;
    let wanted = (3, 1, 1, 1, 0, 0);
    let MovedTable {
        pending,
        uncertain,
        dead,
        done,
        known,
        ..
    } = outbox;
    let remaining = outbox.remaining;
    assert_eq!(
        (pending - 1, uncertain, dead, done, known, remaining),
        wanted
    );
    assert_eq!(inbox, MovedTable::default());
    let rows = entries(&store, &Queue::Outbox).await;
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            let key = row.key.as_ref().map(|key| key.as_str().to_owned());
            (
                row.id.as_str(),
                row.state,
                row.uncertain,
                key.expect("a key"),
            )
        })
        .collect();
    let line = |id, state, uncertain, topic: &str| (id, state, uncertain, topic.to_owned());
    assert_eq!(
        seen,
        [
            line("p", State::Pending, true, "orders"),
            line("b1", State::Pending, false, "orders"),
            line("b2", State::Pending, false, "orders"),
            line("f", State::Pending, false, "bills"),
            line("x", State::Dead, false, "bills"),
            line("future", State::Pending, false, "bills"),
            line("d", State::Done, false, "orders"),
        ]
    );
    assert_eq!(
        payload(&store, &Queue::Outbox, "b2").await,
        b"{\"a\": [1.50, null], \"b\": 1}"
    );
    let done = rows.last().expect("the last");
    assert_eq!(seconds(Some(done.enqueued_at)), 1_704_067_200);
    assert_eq!(seconds(done.settled_at), 1_704_153_610);
    let dead = &rows[4];
    assert_eq!(dead.reason.as_deref(), Some("dead in go-iobox"));
    assert!(!dead.halts && dead.settled_at.is_some());
    assert_eq!(
        theirs
            .number("select count(*) from {s}.__outbox_table")
            .await,
        0
    );
    // An id that was moved is known from now on.
    let again = support::enqueue(&store, &[Draft::new("orders", "").id("d")]).await;
    assert!(again[0].is_duplicate());
}

/// The rows of one id become one foreign message with a row for each handler, each with its status,
/// attempts, error and time; a redelivery is a duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_arrives_with_a_row_for_each_handler() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run(
            "insert into {s}.__inbox_table (id, status, event_type, handler_key, payload, created_at,
               updated_at, attempt, error_message, next_attempt)
             values
               ('1', 'done', 'orders', 'a', '\\x00ff', '2001-02-03 04:05:06.789', '2024-01-02', 2, 'e',
                 '2024-01-01'),
               ('1', 'failed', 'orders', 'b', '\\x00ff', '2001-02-03 04:05:06.789', '2024-01-02', 3,
                 E'no\\nroute', '2100-01-01'),
               ('1', 'dead', 'orders', 'c', '\\x00ff', '2001-02-03 04:05:06.789', '2024-01-02', 5,
                 repeat('ü', 2000), null),
               ('2', null, 'orders', 'a', '\\x02', '2001-02-04', now(), 0, null, null),
               ('2', 'progress', 'orders', 'b', '\\x02', '2001-02-04', now(), 1, 'before', null),
               ('3', 'failed', 'orders', 'a', '\\x03', '2001-02-05', now(), 1, 'later', null)",
        )
        .await;
    let [outbox, inbox] = moved(&store, &theirs.options().batch(2)).await;
    assert_eq!(outbox, MovedTable::default());
    let MovedTable {
        pending,
        uncertain,
        retrying,
        dead,
        done,
        ..
    } = inbox;
    assert_eq!((pending, uncertain, retrying, dead, done), (1, 1, 2, 1, 1));
    assert_eq!((inbox.known, inbox.left, inbox.remaining), (0, 0, 0));
    assert_eq!(
        theirs
            .texts("select id || unrouted || to_char(occurred_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.MS') from {s}.received order by seq")
            .await,
        [
            "1false2001-02-03 04:05:06.789",
            "2false2001-02-04 00:00:00.000",
            "3false2001-02-05 00:00:00.000"
        ]
    );
    let of = async |handler: &str| {
        let store = store.queue_of(&name(handler)).await.expect("a queue");
        let rows = entries(&store, &queue(handler)).await;
        assert_eq!(payload(&store, &queue(handler), "1").await, b"\x00\xff");
        rows
    };
    let (a, b, c) = (of("a").await, of("b").await, of("c").await);
    let brief = |rows: &[Entry]| -> Vec<_> {
        let one = |row: &Entry| (row.id.clone(), row.state, row.attempt, row.uncertain);
        rows.iter().map(one).collect()
    };
    let line = |id: &str, state, attempt, uncertain| (id.to_owned(), state, attempt, uncertain);
    assert_eq!(
        brief(&a),
        [
            line("1", State::Done, 2, false),
            line("2", State::Pending, 0, false),
            line("3", State::Retrying, 1, false)
        ]
    );
    assert_eq!(
        brief(&b),
        [
            line("1", State::Retrying, 3, false),
            line("2", State::Pending, 1, true)
        ]
    );
    assert_eq!(brief(&c), [line("1", State::Dead, 5, false)]);
    assert_eq!(seconds(a[0].settled_at), 1_704_153_600);
    assert_eq!(b[0].reason.as_deref(), Some("no route"));
    assert_eq!(c[0].reason.as_ref().map(String::len), Some(1_000));
    assert!(!c[0].halts);
    let due = "select count(*) from {s}.inbox where due_at = '2100-01-01 00:00:00+00'";
    assert_eq!(theirs.number(due).await, 1);
    let due = "select count(*) from {s}.inbox where state = 1 and due_at is not null";
    assert_eq!(theirs.number(due).await, 2);

    let source = SourceName::new("shop").expect("a source");
    let delivery = |id: &str| Delivery::foreign(&Draft::new("orders", "").id(id)).expect("one");
    let all = [delivery("1"), delivery("2"), delivery("4")];
    let received = store.receive(&source, &all).await.expect("receive");
    let new = Received::New { handlers: 0 };
    assert_eq!(received, [Received::Duplicate, Received::Duplicate, new]);
}

/// What moved is published in the order of each event type, and handled; what was done or dead is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_moved_is_published_in_order_and_handled() {
    let schema = Schema::new();
    let store = schema.migrated(8).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run(
            "insert into {s}.__outbox_table (id, status, event_type, payload, created_at)
             select 'id-' || n, case n % 7 when 0 then 'done' when 1 then 'progress' end,
               'orders.' || n % 3, '{}', timestamp '2024-01-01' - n * interval '1 second'
             from generate_series(1, 300) as n;
             insert into {s}.__inbox_table (id, status, event_type, handler_key, attempt, next_attempt)
             select 'id-' || n, case n % 5 when 0 then 'done' when 1 then 'dead' when 2 then 'failed'
                 when 3 then 'progress' end,
               'orders.paid', h, 1, case n % 5 when 2 then timestamp '2024-01-01' end
             from generate_series(1, 100) as n, unnest('{a,b}'::text[]) as h",
        )
        .await;
    let [outbox, received] = moved(&store, &theirs.options().batch(64)).await;
    assert_eq!((outbox.moved(), received.moved()), (300, 200));

    let broker = MemoryBroker::new();
    let relay = Relay::builder(Arc::clone(&store), broker.clone());
    let relay = relay.build().expect("a relay").spawn();
    relay.wait_until_empty(PATIENCE).await.expect("it is empty");
    relay.drain().await.expect("a drain");
    let published = broker.read(0, usize::MAX);
    for rest in 0..3 {
        let topic = format!("orders.{rest}");
        let of = published.iter().map(|one| &one.message);
        let of = of.filter(|message| message.topic().as_str() == topic);
        let ids: Vec<_> = of.map(|message| message.id().to_string()).collect();
        let wanted = (1..=300).rev().filter(|n| n % 3 == rest && n % 7 != 0);
        let wanted: Vec<_> = wanted.map(|n| format!("id-{n}")).collect();
        assert_eq!(ids, wanted, "{topic}");
    }

    let (a, b) = (Notes::new(), Notes::new());
    let mut router = Router::new();
    router.on("orders.*", "a", a.clone()).policy(quick(3));
    router.on("orders.*", "b", b.clone()).policy(quick(3));
    finish(inbox(&*store, router).spawn()).await;
    let wanted = (1..=100).filter(|n| n % 5 > 1);
    let mut wanted: Vec<_> = wanted.map(|n| format!("id-{n}")).collect();
    wanted.sort_unstable();
    assert_eq!(a.sorted(), wanted);
    assert_eq!(b.sorted(), wanted);
}

/// Timestamps are of the time zone that is named.
#[tokio::test(flavor = "multi_thread")]
async fn timestamps_have_the_time_zone_that_is_named() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let mut theirs = Ancestor::new(&schema).await;
    theirs
        .run(
            "insert into {s}.__outbox_table (id, status, event_type, payload, created_at, updated_at)
             values ('1', 'done', 'a', '1', '2024-07-01 12:00:00', '2024-07-01 12:00:00')",
        )
        .await;
    moved(&store, &theirs.options().time_zone("Europe/Berlin")).await;
    let rows = entries(&store, &Queue::Outbox).await;
    assert_eq!(seconds(rows[0].settled_at), 1_719_828_000);
}
