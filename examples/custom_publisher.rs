//! A publisher of your own: appends messages as JSON lines to a file, on the disk before it says Ok.
//!
//! Run it with `cargo run --example custom_publisher`.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use iobox::{
    Outbox, Relay, Result,
    memory::MemoryStore,
    message::Message,
    partition::Partitions,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
    queue::Queue,
    store::{Admin as _, Filter, Page, State},
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

/// A file as a broker. It is written by one process at a time.
#[derive(Debug)]
pub(crate) struct JsonLines(Arc<Mutex<File>>);

impl JsonLines {
    /// Opens the file at `path`, and cuts off half a line that a killed process may have left:
    /// nobody was told that it is there, so its message comes again.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        if file.metadata()?.is_file() {
            let whole = fs::read(path)?.iter().rposition(|byte| *byte == b'\n');
            file.set_len(whole.map_or(0, |at| at as u64 + 1))?;
        }
        Ok(Self(Arc::new(Mutex::new(file))))
    }
}

#[async_trait]
impl Publisher for JsonLines {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let mut lines = Vec::new();
        let mut written = Vec::new();
        for (index, message) in batch.iter().enumerate() {
            match line(message) {
                Ok(line) => {
                    lines.extend(line);
                    written.push(index);
                }
                // It will not become JSON by waiting: a dead letter, for a person to look at.
                Err(error) => outcomes.report(index, Err(PublishError::Permanent(error))),
            }
        }
        let file = Arc::clone(&self.0);
        // A disk can take its time, and must not hold up the runtime. If this future is dropped
        // meanwhile the append goes on, which is why what was not reported counts as unknown.
        let append = spawn_blocking(move || {
            append(
                &mut file.lock().unwrap_or_else(PoisonError::into_inner),
                &lines,
            )
        });
        let outcome = append
            .await
            .unwrap_or_else(|panic| Err(PublishError::Unknown(panic.to_string())));
        for index in written {
            outcomes.report(index, outcome.clone().map(|()| Receipt::new()));
        }
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Synced)
    }
}

/// The line of a message.
fn line(message: &Message) -> Result<Vec<u8>, String> {
    let payload: Value = serde_json::from_slice(message.payload())
        .map_err(|error| format!("the payload is not JSON: {error}"))?;
    let key = message.key().map(|key| key.as_str());
    let topic = message.topic().as_str();
    let line = json!({ "id": message.wire_id(), "topic": topic, "key": key, "payload": payload });
    Ok(format!("{line}\n").into_bytes())
}

/// Appends all of `lines` or says what is known about them. This is the heart of a publisher: not
/// *what* went wrong, but whether the messages may have arrived.
fn append(file: &mut File, lines: &[u8]) -> Result<(), PublishError> {
    let unknown = |error: io::Error| PublishError::Unknown(error.to_string());
    let before = file.metadata().map_err(unknown)?.len();
    if let Err(error) = file.write_all(lines) {
        // A full disk may have taken a part. Only if that is gone again, nothing has arrived.
        let after = file.metadata().map_err(unknown)?.len();
        if after != before {
            file.set_len(before).map_err(unknown)?;
        }
        return Err(match error.kind() {
            io::ErrorKind::Interrupted => PublishError::Transient(error.to_string()),
            // Disk full, quota, no longer writable: true of every message, so the relay pauses.
            _ => PublishError::Unavailable(error.to_string()),
        });
    }
    // After a failed fsync nobody knows what the disk has.
    file.sync_data().map_err(unknown)
}

/// Text of a message or of an error, as a terminal may get it: without anything that moves the cursor,
/// turns the direction of what follows, or starts a line of its own.
fn shown(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        other => other.escape_debug().to_string(),
    };
    text.chars().map(escaped).collect()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("orders.jsonl");
    let store = MemoryStore::new(Partitions::DEFAULT);
    let outbox = Outbox::new(store.clone());

    let mut tx = store.begin();
    for order in 1..=100 {
        let order = json!({ "order": order, "customer": order % 7 });
        let draft = Message::json("orders.created", &order)?.key(&order["customer"]);
        outbox.enqueue(&mut tx, draft).await?;
    }
    let broken = Message::draft("orders.created", "<order/>");
    outbox.enqueue(&mut tx, broken).await?;
    tx.commit()?;
    outbox.wake();

    let relay = Relay::builder(store.clone(), JsonLines::open(&path)?).build()?;
    let relay = relay.spawn();
    relay.wait_until_empty(Duration::from_secs(10)).await?;
    relay.drain().await?;

    let text = fs::read_to_string(&path)?;
    let (lines, one) = (text.lines().count(), text.lines().next());
    println!("{lines} lines are in the file, synced. One of them:");
    println!("  {}", shown(one.unwrap_or_default()));
    ensure!(lines == 100, "the file has {lines} lines instead of 100");

    let mut filter = Filter::default();
    filter.states.push(State::Dead);
    let dead = store.list(&Queue::Outbox, &filter, Page::default()).await?;
    let reason = dead.iter().find_map(|entry| entry.reason.as_deref());
    let reason = reason.context("the message that is not JSON is no dead letter")?;
    let reason = shown(reason);
    println!("1 dead letter, which a retry cannot help:\n  {reason}");

    // Linux has a file that is always full.
    if let Ok(mut full) = File::options().append(true).open("/dev/full") {
        let error = append(&mut full, b"{}\n").expect_err("/dev/full takes nothing");
        println!("On a full disk the relay pauses, loses nothing, and tries again:\n  {error}");
    }
    Ok(())
}
