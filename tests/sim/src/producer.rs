//! Producers: transactions of one key run one after the other, those of different keys interleave.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    memory::MemoryStore,
    message::Draft,
    store::{Enqueue, Enqueued},
};
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::{
    broker::Scripts,
    history::{Event, History},
    plan::{Plan, Script},
};

/// One transaction.
struct Transaction {
    ids: Vec<String>,
    key: Option<String>,
    start: Duration,
    /// From the enqueue to the end.
    open: Duration,
    commits: bool,
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
        transactions.push(Transaction {
            ids,
            key,
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

/// Runs all transactions to their end.
pub(crate) async fn produce(
    plan: Plan,
    store: MemoryStore,
    scripts: Scripts,
    history: History,
    mut random: fastrand::Rng,
) {
    let locks: Arc<Vec<Mutex<()>>> = Arc::new((0..plan.keys).map(|_| Mutex::default()).collect());
    let mut tasks = JoinSet::new();
    for transaction in transactions(&plan, &scripts, &mut random) {
        let (store, history, locks) = (store.clone(), history.clone(), Arc::clone(&locks));
        let (scripts, wakes) = (Arc::clone(&scripts), random.bool());
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
            let mut tx = store.begin();
            let drafts: Vec<Draft> = transaction
                .ids
                .iter()
                .map(|id| {
                    let draft = Draft::new("t", "").id(id);
                    match &transaction.key {
                        Some(key) => draft.key(key),
                        None => draft,
                    }
                })
                .collect();
            let enqueued = store
                .enqueue(&mut tx, &drafts)
                .await
                .expect("drafts are valid");
            assert!(!enqueued.iter().any(Enqueued::is_duplicate));
            sleep(transaction.open).await;
            let ids = transaction.ids;
            if !transaction.commits {
                tx.rollback();
                history.add(Event::RolledBack { ids });
                return;
            }
            tx.commit().expect("ids are unique");
            for id in &ids {
                let script = scripts
                    .lock()
                    .expect("no panic holds the lock")
                    .get(id)
                    .copied();
                if script == Some(Script::Corrupt) {
                    let id = iobox_core::message::MessageId::new(id).expect("ids are valid");
                    store.corrupt(&id, "simulated: cannot be decoded");
                }
            }
            history.add(Event::Committed {
                ids,
                key: transaction.key,
            });
            if wakes {
                iobox_core::Store::signal(&store).wake();
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.expect("producers do not panic");
    }
}
