//! Producers: transactions of one key run one after the other, those of different keys interleave.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Limits, MessageId, Origin},
    store::{Enqueue, Enqueued},
};
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::{
    broker::{Scripts, take},
    chaos::Chaos,
    history::{Event, History, Lane, Process},
    ids::SeededIds,
    plan::{Plan, Script},
    point::Point,
};

/// One transaction.
struct Transaction {
    ids: Vec<String>,
    topic: String,
    key: Option<String>,
    start: Duration,
    /// From the enqueue to the end.
    open: Duration,
    commits: bool,
}

impl Transaction {
    fn drafts(&self) -> Vec<Draft> {
        let draft = |id: &String| {
            let draft = Draft::new(&self.topic, "").id(id);
            match &self.key {
                Some(key) => draft.key(key),
                None => draft,
            }
        };
        self.ids.iter().map(draft).collect()
    }
}

/// Draws the script of every message.
fn script(plan: &Plan, index: usize, random: &mut fastrand::Rng) -> Script {
    if index < plan.breaker {
        return Script::Breaker;
    }
    if index < plan.breaker + plan.killer {
        return Script::Killer;
    }
    if index < plan.breaker + plan.killer + plan.corrupt {
        return Script::Corrupt;
    }
    let draw = random.f64();
    if draw < plan.poison {
        Script::Poison
    } else if draw < plan.poison + plan.flaky {
        Script::Flaky
    } else {
        Script::Plain
    }
}

fn transactions(plan: &Plan, scripts: &Scripts, random: &mut fastrand::Rng) -> Vec<Transaction> {
    let mut left = plan.messages;
    let mut transactions = Vec::new();
    let mut order: Vec<usize> = (0..plan.messages).collect();
    random.shuffle(&mut order);
    while left > 0 {
        let size = random.usize(1..=3).min(left);
        let ids: Vec<String> = (0..size).map(|n| format!("m{}", left - n)).collect();
        for id in &ids {
            let index = order[left - 1 - ids.iter().position(|other| other == id).unwrap_or(0)];
            let script = script(plan, index, random);
            scripts
                .lock()
                .expect("no panic holds the lock")
                .insert(id.clone(), script);
        }
        left -= size;
        let key =
            (random.f64() >= plan.unkeyed).then(|| format!("k{}", random.usize(0..plan.keys)));
        let slow = random.f64() < 0.2;
        let hot = plan.hot && random.bool();
        transactions.push(Transaction {
            topic: format!("t.{}", random.usize(0..plan.topics)),
            ids,
            key: if hot { Some("k0".to_owned()) } else { key },
            start: plan.producing.mul_f64(random.f64()),
            open: Duration::from_millis(if slow {
                random.u64(0..800)
            } else {
                random.u64(0..20)
            }),
            commits: random.f64() >= plan.rollbacks,
        });
    }
    transactions
}

/// Where producers write to.
#[derive(Clone)]
pub(crate) enum Target {
    /// The outbox.
    Outbox(MemoryStore),
    /// The broker, past any outbox.
    Broker(MemoryBroker),
}

/// What every producer of a run shares.
#[derive(Clone)]
pub(crate) struct Producers {
    pub(crate) target: Target,
    pub(crate) scripts: Scripts,
    /// The record of the outbox.
    pub(crate) history: History,
    pub(crate) chaos: Arc<Chaos>,
    pub(crate) ids: Arc<SeededIds>,
}

impl Producers {
    /// Runs all transactions to their end.
    pub(crate) async fn produce(self, plan: Plan, mut random: fastrand::Rng) {
        let locks: Vec<Mutex<()>> = (0..plan.keys).map(|_| Mutex::default()).collect();
        let locks = Arc::new(locks);
        let mut tasks = JoinSet::new();
        for transaction in transactions(&plan, &self.scripts, &mut random) {
            let (this, locks, wakes) = (self.clone(), Arc::clone(&locks), random.bool());
            tasks.spawn(async move {
                sleep(transaction.start).await;
                let index = transaction
                    .key
                    .as_ref()
                    .and_then(|key| key.get(1..)?.parse::<usize>().ok());
                // The row of the key is locked before the enqueue and until the end.
                let _lock = match index.and_then(|index| locks.get(index)) {
                    Some(lock) => Some(lock.lock().await),
                    None => None,
                };
                match &this.target {
                    Target::Outbox(store) => this.enqueue(store, transaction, wakes).await,
                    Target::Broker(broker) => this.publish(broker, transaction).await,
                }
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.expect("producers do not panic");
        }
    }

    fn dies_at(&self, at: Point) -> bool {
        let dies = self.chaos.kills_at(at);
        if dies {
            let process = Process::MAX;
            self.history
                .of(Lane::World)
                .add(Event::Killed { process, at });
        }
        dies
    }

    async fn enqueue(&self, store: &MemoryStore, transaction: Transaction, wakes: bool) {
        let history = &self.history;
        let drafts = transaction.drafts();
        let Transaction { ids, key, .. } = transaction;
        if self.dies_at(Point::Enqueue) {
            history.add(Event::RolledBack { ids });
            return;
        }
        let mut tx = store.begin();
        let enqueued = store.enqueue(&mut tx, &drafts).await;
        let enqueued = enqueued.expect("drafts are valid");
        assert!(!enqueued.iter().any(Enqueued::is_duplicate));
        sleep(transaction.open).await;
        if !transaction.commits || self.dies_at(Point::Commit) {
            tx.rollback();
            history.add(Event::RolledBack { ids });
            return;
        }
        tx.commit().expect("ids are unique");
        self.corrupt(store, &ids);
        history.add(Event::Committed { ids, key });
        if self.dies_at(Point::Committed) {
            // It does not know, and runs the transaction again.
            let mut tx = store.begin();
            let enqueued = store.enqueue(&mut tx, &drafts).await;
            let enqueued = enqueued.expect("drafts are valid");
            assert!(enqueued.iter().all(Enqueued::is_duplicate));
        }
        if wakes {
            iobox_core::Store::signal(store).wake();
        }
    }

    fn corrupt(&self, store: &MemoryStore, ids: &[String]) {
        let scripts = self.scripts.lock().expect("no panic holds the lock");
        for id in ids {
            if scripts.get(id) == Some(&Script::Corrupt) {
                let id = MessageId::new(id).expect("ids are valid");
                store.corrupt(&id, "simulated: cannot be decoded");
            }
        }
    }

    async fn publish(&self, broker: &MemoryBroker, transaction: Transaction) {
        for draft in transaction.drafts() {
            let sealed = draft.seal(Origin::FOREIGN, Limits::default(), self.ids.as_ref());
            let message = sealed.expect("drafts are valid").message;
            take(broker, &self.history, &message).await;
        }
    }
}
