//! A store of your own: an outbox in one file, on the disk before it says Ok.
//!
//! Run it with `cargo run --example custom_store`. The store is in `file_store/`;
//! `tests/custom_store.rs` certifies it, and `docs/writing_adapters.md` walks through both.

mod file_store;

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use file_store::{FileStore, FileTx};
use iobox::{
    Outbox, Relay,
    memory::MemoryBroker,
    message::Message,
    partition::Partitions,
    queue::Queue,
    store::{Admin as _, Store as _},
};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("outbox.jsonl");
    let broker = MemoryBroker::new();

    let store = FileStore::open(&path, Partitions::new(8)?)?;
    store.migrate().await?;
    let outbox = Outbox::new(store.clone());
    let mut tx: FileTx = store.begin();
    for order in 1..=50 {
        let draft = Message::json("orders.created", &order)?.key(order % 7);
        outbox.enqueue(&mut tx, draft).await?;
    }
    tx.commit().await?;
    // This one is forgotten: its transaction never commits.
    let mut tx = store.begin();
    outbox
        .enqueue(&mut tx, Message::draft("orders.created", "no"))
        .await?;
    drop((tx, outbox, store));
    println!("50 messages are committed, and the program ends before they are published.");

    // A process that is killed in the middle of a write leaves half a line.
    let mut file = fs::File::options().append(true).open(&path)?;
    file.write_all(b"[{\"Status\":[[3,")?;
    drop(file);

    let store = FileStore::open(&path, Partitions::new(8)?)?;
    store.open(&Queue::Outbox).await?;
    let found = store.stats(&Queue::Outbox).await?.pending;
    println!(
        "The next one finds {found} of them in the file, beside half a line that never counted."
    );
    ensure!(found == 50, "{found} messages are pending instead of 50");

    let relay = Relay::builder(store.clone(), broker.clone())
        .build()?
        .spawn();
    relay.wait_until_empty(Duration::from_secs(10)).await?;
    relay.drain().await?;
    let published = broker.len();
    println!("{published} are published, in order for each of 7 customers.");
    ensure!(
        published == 50,
        "{published} messages were published instead of 50"
    );
    let lines = fs::read_to_string(&path)?.lines().count();
    println!("The file has {lines} lines, one for each transaction.");
    Ok(())
}
