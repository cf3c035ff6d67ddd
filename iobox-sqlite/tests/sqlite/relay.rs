//! Relays on the SQLite store.

use std::{collections::HashMap, time::Duration};

use iobox_core::{Relay, memory::MemoryBroker, queue::Queue, store::Admin};
use tokio::sync::oneshot;

use super::{
    child::{Role, start},
    fixture::{migrated, open},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_publish_what_other_processes_write_in_order() {
    let (file, store) = migrated().await;
    let broker = MemoryBroker::new();
    let mut running = Vec::new();
    for _ in 0..2 {
        let own = open(file.config());
        let relay = Relay::builder(own.as_ref().clone(), broker.clone())
            .time_to_live(Duration::from_secs(10))
            .build()
            .expect("a relay");
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        running.push((stop, run));
    }
    let children: Vec<_> = (0..4)
        .map(|name| start(Role::Enqueue(150), &file.path(), name))
        .collect();
    let written: usize = tokio::task::spawn_blocking(|| {
        let finished = children.into_iter().map(|child| child.finish().len());
        finished.sum()
    })
    .await
    .expect("children");
    assert_eq!(written, 600);
    tokio::time::timeout(Duration::from_secs(30), broker.wait_for(600))
        .await
        .expect("everything arrives");
    for (stop, run) in running {
        let _ = stop.send(());
        run.await.expect("a relay").expect("a clean end");
    }
    let mut last: HashMap<String, usize> = HashMap::new();
    for published in broker.read(0, 1_000) {
        let text = String::from_utf8(published.message.payload().to_vec()).expect("a label");
        let (name, at) = text.split_once('-').expect("a name and a number");
        let at = at.parse().expect("a number");
        if let Some(before) = last.insert(name.to_owned(), at) {
            assert_eq!(at, before + 1, "of {name}");
        }
    }
    let stats = store.stats(&Queue::Outbox).await.expect("counts");
    assert_eq!((stats.pending, stats.instances.len()), (0, 0));
}
