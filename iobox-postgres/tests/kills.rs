//! Workers in processes of their own: killed or stopped in the middle of their handlers.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{
    env,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use iobox_core::{
    Inbox, Router,
    inbox::{Delivery, SourceName},
    message::Draft,
    store::Receive,
};
use iobox_postgres::PostgresStore;
use iobox_testkit::suite::{
    inbox::support::{delivery, inbox, receive},
    support::PATIENCE,
};

use crate::support::{
    Schema, connection,
    effect::{Effect, HANDLERS, effect_table, effects},
    number,
};

const SCHEMA: &str = "IOBOX_POSTGRES_TEST_SCHEMA";
const PAUSE: &str = "IOBOX_POSTGRES_TEST_PAUSE";

fn read(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn workers(store: &PostgresStore, schema: &str, pause: Duration) -> Inbox<PostgresStore> {
    let mut router = Router::new();
    for handler in HANDLERS {
        let effect = Effect::new(schema, handler, pause);
        router.on_tx("orders.*", handler, effect);
    }
    Inbox::builder(store.clone(), router)
        .time_to_live(Duration::from_secs(1))
        .build()
        .expect("an inbox")
}

#[test]
fn run_when_started_as_a_child() {
    let Ok(schema) = env::var(SCHEMA) else {
        return;
    };
    // Never dropped here: it is the schema of the one that started this.
    let schema = std::mem::ManuallyDrop::new(Schema(schema));
    let pause = Duration::from_millis(u64::try_from(read(PAUSE, 1)).expect("a pause"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = schema.store(schema.config()).await;
        let running = workers(&store, &schema.0, pause);
        running.run(std::future::pending()).await.expect("a run");
    });
}

/// A worker in a process of its own; killed when it is dropped.
struct Process(Child);

impl Process {
    /// Starts one whose handlers take so many milliseconds.
    fn start(schema: &str, pause: u32) -> Self {
        let child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "run_when_started_as_a_child"])
            .env(SCHEMA, schema)
            .env(PAUSE, pause.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("a child"))
    }

    /// Sends it a signal.
    fn signal(&self, name: &str) {
        let process = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.expect("the program kill").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("a kill");
        self.0.wait().expect("an end");
    }
}

/// A process that is stopped in the middle of its handlers for longer than three leases, and goes on when
/// another instance has handled their messages, commits nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_commits_nothing_when_it_goes_on() {
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    effect_table(&schema).await;
    let heir = workers(&store, &schema.0, Duration::ZERO);
    heir.subscribe().await.expect("subscribe");
    let two = ["k", "l"].map(|key| delivery("orders.created", key, key));
    receive(&*store, &two).await;
    let working = format!(
        "select count(*) from pg_stat_activity
         where state = 'idle in transaction' and query like '%\"{}\".effect%'",
        schema.0
    );
    let mut person = connection().await;
    let deadline = Instant::now() + PATIENCE;
    let old = Process::start(&schema.0, 3_500);
    while number(&mut person, working.clone()).await < 4 {
        assert!(Instant::now() < deadline, "it handles nothing");
    }
    old.signal("STOP");
    let handle = heir.spawn();
    handle.wait_until_empty(PATIENCE).await.expect("handled");
    assert_eq!(effects(&schema.0, "true").await, (4, 2));
    assert_eq!(
        number(&mut person, working.clone()).await,
        4,
        "it is stopped"
    );
    old.signal("CONT");
    let deadline = Instant::now() + PATIENCE;
    while number(&mut person, working.clone()).await > 0 {
        assert!(Instant::now() < deadline, "it does not go on");
    }
    assert_eq!(effects(&schema.0, "true").await, (4, 2));
    handle.drain().await.expect("a drain");
}

/// Receives every id the caller's share of `copies` times, in batches; returns how many were new.
async fn deliver(store: Arc<PostgresStore>, caller: usize, ids: usize, copies: usize) -> usize {
    const CALLERS: usize = 8;
    let from = SourceName::new("shop").expect("a source");
    let mut new = 0;
    for copy in (caller..copies).step_by(CALLERS) {
        for first in (0..ids).step_by(10) {
            let all: Vec<_> = (first..ids.min(first + 10))
                .map(|n| (n + copy * 37) % ids)
                .map(|id| Draft::new("orders.created", "x").id(id).key(id % 20))
                .map(|draft| Delivery::foreign(&draft).expect("a delivery"))
                .collect();
            let received = loop {
                match store.receive(&from, &all).await {
                    Ok(received) => break received,
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            };
            new += received.iter().filter(|one| !one.is_duplicate()).count();
        }
    }
    new
}

/// Messages that arrive many times at once take effect once for each handler, while the processes that
/// handle them are killed again and again. `IOBOX_INBOX_IDS` and `IOBOX_INBOX_COPIES` set the size.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_takes_effect_once_while_workers_are_killed() {
    let ids = read("IOBOX_INBOX_IDS", 2_000);
    let copies = read("IOBOX_INBOX_COPIES", 50);
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    effect_table(&schema).await;
    workers(&store, &schema.0, Duration::ZERO)
        .subscribe()
        .await
        .expect("subscribe");
    let callers: Vec<_> = (0..8)
        .map(|caller| tokio::spawn(deliver(Arc::clone(&store), caller, ids, copies)))
        .collect();
    let wanted = i64::try_from(ids * HANDLERS.len()).expect("small");
    let step = (wanted / 5).max(1);
    let deadline = Instant::now() + PATIENCE * 20;
    let (mut seen, mut rounds) = (0, 0);
    while seen < wanted {
        let processes = [0, 1].map(|_| Process::start(&schema.0, 1));
        let until = (seen + step).min(wanted);
        while seen < until {
            assert!(Instant::now() < deadline, "{seen} of {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = effects(&schema.0, "true").await.0;
        }
        drop(processes);
        rounds += 1;
    }
    assert!(rounds >= 2, "{rounds} rounds of kills");
    let mut new = 0;
    for caller in callers {
        new += caller.await.expect("no panic");
    }
    assert_eq!(new, ids, "each message was new once");
    let last = inbox(&*store, {
        let mut router = Router::new();
        for handler in HANDLERS {
            let effect = Effect::new(&schema.0, handler, Duration::ZERO);
            router.on_tx("orders.*", handler, effect);
        }
        router
    });
    let last = last.spawn();
    last.wait_until_empty(PATIENCE)
        .await
        .expect("nothing is left");
    last.drain().await.expect("a drain");
    let ids = i64::try_from(ids).expect("small");
    for handler in HANDLERS {
        let found = effects(&schema.0, &format!("handler = '{handler}'")).await;
        assert_eq!(found, (ids, ids), "{handler}");
    }
}
