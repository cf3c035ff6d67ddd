//! The inbox on one file: effects happen once, whatever dies.

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use iobox_core::{
    Inbox, Router,
    dispatch::DeadLetterPolicy,
    handler::{self, HandlerError},
    inbox::{Delivery, HandlerName, Rehearsed, SourceName},
    message::{Draft, Message, MessageId, Origin},
    queue::Queue,
    store::{Admin, Admitted, Receive, Settled, Store, Subscribe},
};
use iobox_sqlite::{
    Failure, OnTxSync, SqliteStore,
    rusqlite::{self, Transaction},
};
use iobox_testkit::suite::{
    inbox::support::{Worker, quick, receive, subscribe},
    support::PATIENCE,
};
use tokio::sync::watch;

use super::{
    child::{Role, start},
    fixture::migrated,
};

const HANDLERS: [&str; 2] = ["a", "b"];

fn effect(
    handler: &'static str,
) -> impl Fn(&Transaction<'_>, &Message) -> Result<(), HandlerError> {
    move |tx, message| {
        let effect = (handler, message.id().as_str());
        tx.execute("INSERT INTO effect VALUES (?1, ?2)", effect)?;
        // A kill finds transactions with an effect and without a mark.
        thread::sleep(Duration::from_micros(500));
        Ok(())
    }
}

fn inbox(store: &SqliteStore) -> Inbox<SqliteStore> {
    let mut router = Router::new();
    for handler in HANDLERS {
        router.on_tx_sync("orders.*", handler, effect(handler));
    }
    Inbox::builder(store.clone(), router)
        .time_to_live(Duration::from_secs(1))
        .build()
        .expect("an inbox")
}

/// What a child does until it is killed.
pub(crate) async fn handle(store: &SqliteStore) {
    inbox(store)
        .run(std::future::pending())
        .await
        .expect("a run");
}

fn delivery(id: usize) -> Delivery {
    let draft = Draft::new("orders.created", "x").id(id).key(id % 20);
    Delivery::foreign(&draft).expect("a delivery")
}

fn number(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Messages that arrive many times at once take effect once for each handler, while the processes that
/// handle them are killed again and again. `IOBOX_INBOX_IDS` and `IOBOX_INBOX_COPIES` set the size.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_takes_effect_once_while_workers_are_killed() {
    const CALLERS: usize = 8;
    let ids = number("IOBOX_INBOX_IDS", 2_000);
    let copies = number("IOBOX_INBOX_COPIES", 50);
    let (file, store) = migrated().await;
    file.edit("CREATE TABLE effect (handler TEXT, id TEXT)");
    inbox(&store).subscribe().await.expect("subscribe");
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let store = SqliteStore::clone(&store);
        callers.push(tokio::spawn(async move {
            let source = SourceName::new("shop").expect("a source");
            let mut new = 0;
            // Each caller delivers its share of the copies, all in another order.
            for copy in (caller..copies).step_by(CALLERS) {
                for from in (0..ids).step_by(10) {
                    let at = |n: usize| (from + n + copy * 37) % ids;
                    let all: Vec<_> = (0..10.min(ids - from)).map(|n| delivery(at(n))).collect();
                    let received = loop {
                        match store.receive(&source, &all).await {
                            Ok(received) => break received,
                            Err(error) => assert!(error.is_retryable(), "{error}"),
                        }
                    };
                    new += received.iter().filter(|one| !one.is_duplicate()).count();
                }
            }
            new
        }));
    }
    let wanted = i64::try_from(ids * HANDLERS.len()).expect("small");
    let mut kills = 0;
    let mut seen = 0;
    // Kills come after so many more effects; the last workers may finish.
    let step = (wanted / 5).max(1);
    let deadline = tokio::time::Instant::now() + PATIENCE * 20;
    while seen < wanted {
        let children = [0, 1].map(|name| start(Role::Handle, &file.path(), name));
        let until = (seen + step).min(wanted);
        while seen < until {
            assert!(tokio::time::Instant::now() < deadline, "{seen} of {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = file.number("SELECT count(*) FROM effect");
        }
        for child in children {
            child.kill();
            kills += 1;
        }
    }
    assert!(kills >= 4, "{kills} kills");
    let mut new = 0;
    for caller in callers {
        new += caller.await.expect("no panic");
    }
    assert_eq!(new, ids, "each message was new once");
    let last = inbox(&store).spawn();
    last.wait_until_empty(PATIENCE)
        .await
        .expect("nothing is left");
    last.drain().await.expect("a drain");
    for handler in HANDLERS {
        let of = format!("FROM effect WHERE handler = '{handler}'");
        let effects = file.number(&format!("SELECT count(*) {of}"));
        let distinct = file.number(&format!("SELECT count(DISTINCT id) {of}"));
        let ids = i64::try_from(ids).expect("small");
        assert_eq!((effects, distinct), (ids, ids), "{handler}");
    }
    assert!(file.is_sound());
}

/// A closure's effects, its mark and what it enqueues are committed together, and nothing of an attempt
/// that failed or panicked is.
#[tokio::test(flavor = "multi_thread")]
async fn a_closure_commits_with_its_mark_and_what_it_enqueues() {
    let (file, store) = migrated().await;
    file.edit("CREATE TABLE effect (handler TEXT, id TEXT)");
    let outbox = SqliteStore::clone(&store);
    let calls = AtomicU32::new(0);
    let mut router = Router::new();
    let chain = move |tx: &Transaction<'_>, message: &Message| -> Result<(), HandlerError> {
        tx.execute(
            "INSERT INTO effect VALUES ('c', ?1)",
            [message.id().as_str()],
        )?;
        outbox.enqueue_sync(tx, &[Draft::new("next", "x")])?;
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err("after the effect".into()),
            1 => panic!("after the effect"),
            _ => Ok(()),
        }
    };
    router.on_tx_sync("orders.*", "c", chain);
    let inbox = Inbox::builder(SqliteStore::clone(&store), router).build();
    let inbox = inbox.expect("an inbox");
    inbox.subscribe().await.expect("subscribe");
    let source = SourceName::new("shop").expect("a source");
    let all: Vec<_> = (0..5).map(delivery).collect();
    // Inside of a transaction of the application's own.
    let (receiver, from) = (SqliteStore::clone(&store), source.clone());
    let received = store
        .write(move |tx| -> Result<_, Failure> { Ok(receiver.receive_sync(tx, &from, &all)?) });
    assert_eq!(received.await.expect("receive").len(), 5);
    let handle = inbox.spawn();
    handle
        .wait_until_empty(PATIENCE)
        .await
        .expect("all handled");
    handle.drain().await.expect("a drain");
    assert_eq!(file.number("SELECT count(*) FROM effect"), 5);
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!(stats.pending, 5);
}

/// Handlers that share a transaction: one that fails or panics takes nothing of the others along, and one
/// that spoils the transaction as a whole is found out, and the others are handled once.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_share_a_transaction_fail_alone() {
    const MESSAGES: usize = 300;
    let (file, store) = migrated().await;
    file.edit(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE effect (id TEXT, parent INTEGER
           REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    );
    let outside = Mutex::new(file.connect());
    let shared = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&shared);
    let calls = AtomicU32::new(0);
    let mut router = Router::new();
    let handler = move |tx: &Transaction<'_>, message: &Message| -> Result<(), HandlerError> {
        let id = message.id().as_str();
        tx.execute("INSERT INTO effect VALUES (?1, NULL)", [id])?;
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            // The others get ready meanwhile.
            thread::sleep(Duration::from_millis(50));
        }
        let count = |conn: &rusqlite::Connection| {
            conn.query_row("SELECT count(*) FROM effect", [], |row| {
                row.get::<_, i64>(0)
            })
        };
        let committed = count(&outside.lock().expect("no panic while it is held"))?;
        if count(tx)? > committed + 1 {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        match id {
            "50" => Err(HandlerError::Reject("as the id says".into())),
            "100" => panic!("as the id says"),
            // Fails in the COMMIT, with everything that is committed by it.
            "150" => {
                tx.execute("INSERT INTO effect VALUES (?1, 7)", [id])?;
                Ok(())
            }
            "200" => {
                tx.execute_batch("ROLLBACK")?;
                Ok(())
            }
            _ => Ok(()),
        }
    };
    let policy = quick(2).dead_letters(DeadLetterPolicy::Skip);
    router.on_tx_sync("orders.*", "a", handler).policy(policy);
    let inbox = Inbox::builder(SqliteStore::clone(&store), router)
        .build()
        .expect("an inbox");
    inbox.subscribe().await.expect("subscribe");
    let all: Vec<_> = (0..MESSAGES).map(delivery).collect();
    receive(&*store, &all).await;
    let handle = inbox.spawn();
    let queue = store
        .queue_of(&HandlerName::new("a").expect("a name"))
        .await;
    let queue = queue.expect("a queue");
    let of = Queue::Inbox(HandlerName::new("a").expect("a name"));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stats = queue.stats(&of).await.expect("stats");
        if stats.dead == 4 && stats.pending + stats.retrying == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    handle.drain().await.expect("a drain");
    assert!(
        shared.load(Ordering::SeqCst) > 0,
        "none shared a transaction"
    );
    let effects = file.number("SELECT count(*) FROM effect");
    let distinct = file.number("SELECT count(DISTINCT id) FROM effect");
    assert_eq!(effects, distinct, "each took effect once");
    let done = file.number("SELECT count(*) FROM iobox_inbox WHERE state = 4");
    assert_eq!(effects, done);
    for id in [50, 100, 150, 200] {
        let of = format!("SELECT count(*) FROM effect WHERE id = '{id}'");
        assert_eq!(file.number(&of), 0, "{id}");
    }
}

/// A plain handler that runs for longer than three leases runs once for each owner of its message, and
/// the settle of one that lost the lease is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_plain_handler_runs_once_for_each_owner() {
    const EPOCH: &str = "SELECT epoch FROM iobox_partition p JOIN iobox_inbox i \
        ON i.partition & 255 = p.partition WHERE p.queue = 'inbox/a'";
    for taken in [false, true] {
        let (file, store) = migrated().await;
        let calls = watch::Sender::new(0_i64);
        let build = || {
            let calls = calls.clone();
            let slow = handler::from_fn(move |_| {
                calls.send_modify(|count| *count += 1);
                async {
                    tokio::time::sleep(Duration::from_millis(3_500)).await;
                    Ok(())
                }
            });
            let mut router = Router::new();
            router.on("orders.*", "a", slow);
            let inbox = Inbox::builder(SqliteStore::clone(&store), router);
            let inbox = inbox.time_to_live(Duration::from_secs(1)).build();
            inbox.expect("an inbox")
        };
        let inbox = build();
        inbox.subscribe().await.expect("subscribe");
        receive(&*store, &[delivery(1)]).await;
        let first = inbox.spawn();
        let mut started = calls.subscribe();
        started.wait_for(|count| *count == 1).await.expect("a call");
        let before = file.number(EPOCH);
        if taken {
            // As if the first instance had not renewed for a lease, and somebody had noticed.
            file.edit("DELETE FROM iobox_instance WHERE queue = 'inbox/a'");
        }
        let second = taken.then(|| build().spawn());
        first.wait_until_empty(PATIENCE).await.expect("handled");
        first.drain().await.expect("a drain");
        if let Some(second) = second {
            second.drain().await.expect("a drain");
        }
        let takeovers = file.number(EPOCH) - before;
        let calls = *calls.borrow();
        assert!(
            calls <= 1 + takeovers,
            "{calls} calls, {takeovers} takeovers"
        );
        assert_eq!(takeovers > 0, taken);
    }
    let (file, store) = migrated().await;
    subscribe(&*store, &[("orders.*", "a")]).await;
    receive(&*store, &[delivery(1)]).await;
    let late = Worker::new(&*store, "a").await;
    let row = late.fetch().await.remove(0);
    file.edit("UPDATE iobox_instance SET expires = 0");
    let new = Worker::new(&*store, "a").await;
    let settled = late.store().settle(&[late.success(&row)]).await;
    assert_eq!(settled.expect("a reply"), [Settled::LeaseLost]);
    assert_eq!(new.fetch().await.len(), 1);
}

/// Who wants nothing but the mark gets it in a transaction of his own.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_admitted_once() {
    let (_file, store) = migrated().await;
    let admit = async |commits: bool| {
        let admitting = SqliteStore::clone(&store);
        let written = store.write(move |tx| -> Result<Admitted, Failure> {
            let source = SourceName::new("shop")?;
            let handler = HandlerName::new("mine")?;
            let id = MessageId::new("1")?;
            let admitted = admitting.admit_sync(tx, &source, &handler, Origin::FOREIGN, &id)?;
            if commits {
                return Ok(admitted);
            }
            Err(iobox_core::Error::invalid("as the test says").into())
        });
        written.await.ok()
    };
    assert_eq!(admit(false).await, None);
    assert_eq!(admit(true).await, Some(Admitted::Fresh));
    assert_eq!(admit(true).await, Some(Admitted::Duplicate));
    assert!(store.subscriptions().await.expect("none").is_empty());
}

/// A closure that is rehearsed leaves nothing in the file, says how it ended, and gives the writer's turn
/// back even when it panics.
#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_rehearsed_and_rolled_back() {
    let (file, store) = migrated().await;
    file.edit("CREATE TABLE effect (handler TEXT, id TEXT)");
    let mut router = Router::new();
    router.on_tx_sync(
        "orders.*",
        "a",
        |tx: &Transaction<'_>, message: &Message| {
            effect("a")(tx, message)?;
            match message.id().as_str() {
                "1" => Err(HandlerError::Reject("never".into())),
                "2" => panic!("as the id says"),
                _ => Ok(()),
            }
        },
    );
    let inbox = Inbox::builder(SqliteStore::clone(&store), router)
        .build()
        .expect("an inbox");
    inbox.subscribe().await.expect("subscribe");
    let source = SourceName::new("shop").expect("a source");
    let all: Vec<_> = (1..=3).map(delivery).collect();
    store.receive(&source, &all).await.expect("receive");
    let handler = HandlerName::new("a").expect("a name");
    let reason = "never".to_owned();
    for (id, wanted) in [
        ("1", Rehearsed::Reject { reason }),
        ("2", Rehearsed::Panicked),
        ("3", Rehearsed::Handled),
    ] {
        let id = MessageId::new(id).expect("an id");
        let rehearsed = inbox.rehearse(&handler, &id).await;
        assert_eq!(rehearsed.expect("a rehearsal"), wanted, "{id}");
        assert_eq!(file.number("SELECT count(*) FROM effect"), 0, "{id}");
    }
    let queue = store.queue_of(&handler).await.expect("a queue");
    let stats = queue.stats(&Queue::Inbox(handler)).await.expect("stats");
    assert_eq!((stats.pending, stats.retrying, stats.dead), (3, 0, 0));
}

/// The date of an event is kept to the millisecond, as every time in the file, also one before 1970.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_date_is_kept_as_it_was_given() {
    let (file, store) = migrated().await;
    let span = Duration::from_millis(981_173_106_789);
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    let all = [
        delivery(1).occurred_at(epoch + span),
        delivery(2).occurred_at(epoch - span),
        delivery(3),
    ];
    let source = SourceName::new("shop").expect("a source");
    store.receive(&source, &all).await.expect("receive");
    for (id, date) in [
        (1, "= 981173106789"),
        (2, "= -981173106789"),
        (3, "IS NULL"),
    ] {
        let sql =
            format!("SELECT count(*) FROM iobox_received WHERE id = '{id}' AND occurred_at {date}");
        assert_eq!(file.number(&sql), 1, "{id}");
    }
}
