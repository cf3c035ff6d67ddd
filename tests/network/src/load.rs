//! The load: an application that writes messages until it is told to stop.

use std::{sync::Arc, time::Duration};

use iobox::message::Draft;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{driver::Application, ledger::Written};

/// The topic of every message.
pub(crate) const TOPIC: &str = "orders.created";
/// How many ordering keys there are.
const KEYS: usize = 8;
/// How many messages a transaction has.
const EACH: usize = 4;
/// The pause between two transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// The most transactions.
const TRANSACTIONS: usize = 200;

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<Vec<Written>>,
}

impl Load {
    pub(crate) fn start(application: Arc<dyn Application>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut ticks = interval(PAUSE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for transaction in 0..TRANSACTIONS {
                tokio::select! {
                    // The load is stopped or gone.
                    _ = stopped.wait_for(|stopped| *stopped) => break,
                    _ = ticks.tick() => {}
                }
                let first = transaction * EACH;
                let numbers = first..first + EACH;
                let drafts: Vec<Draft> = numbers.clone().map(draft).collect();
                let certain = application.write(&drafts).await;
                all.extend(numbers.map(|n| Written {
                    id: id(n),
                    key: key(n),
                    position: n / KEYS,
                    certain,
                }));
            }
            all
        });
        Self { stop, task }
    }

    /// Stops it; returns what it wrote.
    pub(crate) async fn stop(self) -> Vec<Written> {
        self.stop.send_replace(true);
        self.task.await.expect("no panic")
    }
}

fn key(n: usize) -> String {
    format!("k{}", n % KEYS)
}

fn id(n: usize) -> String {
    format!("{}-{:05}", key(n), n / KEYS)
}

fn draft(n: usize) -> Draft {
    // Large enough for a reply or a request to be cut in the middle.
    let payload = format!("{n:0200}");
    Draft::new(TOPIC, payload).id(id(n)).key(key(n))
}
