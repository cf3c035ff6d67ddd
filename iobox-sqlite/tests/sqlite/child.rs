//! Children: this test program started again, as another process on the same file.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write, stdout},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use iobox_core::{
    message::Draft,
    store::{Settled, Store},
};
use iobox_sqlite::{Config, SqliteStore};
use iobox_testkit::suite::support::{Instance, done, label};

use super::fixture::{enqueue, open};

const ROLE: &str = "IOBOX_SQLITE_TEST_ROLE";
const FILE: &str = "IOBOX_SQLITE_TEST_FILE";
const NAME: &str = "IOBOX_SQLITE_TEST_NAME";

/// What a child does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Migrates.
    Migrate,
    /// Enqueues this many messages, a few in each transaction, and prints each that is committed.
    Enqueue(usize),
    /// Takes partitions, fetches and settles until nothing is left, and prints what it settled.
    Work,
    /// Runs an inbox with the handlers of [`inbox`](super::inbox) until it is killed.
    Handle,
}

/// A process that prints lines. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Starts a child on a file.
pub(crate) fn start(role: Role, path: &Path, name: usize) -> Process {
    let role = match role {
        Role::Migrate => String::from("migrate"),
        Role::Enqueue(count) => format!("enqueue {count}"),
        Role::Work => String::from("work"),
        Role::Handle => String::from("handle"),
    };
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args([
            "--exact",
            "child::run_when_started_as_a_child",
            "--nocapture",
        ])
        .env(ROLE, role)
        .env(FILE, path)
        .env(NAME, name.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = child.stdout.take().expect("its output");
    Process {
        child,
        lines: BufReader::new(output).lines(),
    }
}

impl Process {
    /// The next line that the child printed itself.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.expect("text");
            if let Some(line) = line.split_once("> ").map(|(_, line)| line) {
                return Some(line.to_owned());
            }
        }
    }

    /// Everything that it prints until it ends, which must be without a failure.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().expect("an end").success());
        lines
    }

    /// Kills it at once, and returns what it had printed before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    // The lock makes a line whole, and the sign tells it from those of the test runner.
    let mut out = stdout().lock();
    writeln!(out, "> {line}").expect("a reader");
    out.flush().expect("a reader");
}

#[test]
fn run_when_started_as_a_child() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let path = PathBuf::from(env::var(FILE).expect("a file"));
    let name = env::var(NAME).expect("a name");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = open(Config::builder(path));
        match role.split_once(' ') {
            Some((_, count)) => enqueue_many(&store, &name, count.parse().expect("a count")).await,
            None if role == "migrate" => {
                store.migrate().await.expect("migrate");
                let info = store.open(&iobox_core::queue::Queue::Outbox).await;
                say(&info.expect("fitting tables").origin.to_string());
            }
            None if role == "handle" => super::inbox::handle(&store).await,
            None => work(&store).await,
        }
    });
}

async fn enqueue_many(store: &SqliteStore, name: &str, count: usize) {
    for from in (0..count).step_by(3) {
        let labels: Vec<String> = (from..count.min(from + 3))
            .map(|at| format!("{name}-{at}"))
            .collect();
        let drafts = labels
            .iter()
            .map(|label| Draft::new("orders.created", label.clone()).key(name))
            .collect();
        enqueue(store, drafts).await;
        for label in labels {
            say(&label);
        }
    }
}

async fn work(store: &Arc<SqliteStore>) {
    let mut instance = Instance::register(store).await;
    let mut idle = 0;
    while idle < 5 {
        instance.acquire().await;
        let fetched = instance
            .fetch_with(|request| request.limit = 20)
            .await
            .pending;
        idle = if fetched.is_empty() { idle + 1 } else { 0 };
        let settlements: Vec<_> = fetched
            .iter()
            .map(|row| instance.settlement(row, done()))
            .collect();
        let settled = instance.send_all(&settlements).await;
        for (row, settled) in fetched.iter().zip(settled) {
            if settled == Settled::Applied {
                say(&label(row));
            }
        }
        // Somebody else may have more than his share: give back what is too much.
        let (share, _) = instance.acquire().await;
        let surplus: Vec<_> = instance
            .held
            .keys()
            .skip(usize::from(share))
            .copied()
            .collect();
        instance.release(&surplus).await;
    }
    instance.leave().await;
}
