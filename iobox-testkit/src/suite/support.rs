//! What the cases share: drafts, an instance that works partitions, readable assertions.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use iobox_core::{
    message::{Draft, MessageId, OrderingKey},
    partition::{Partition, Partitions},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin, Body, Change, Enqueue, Enqueued, Epoch, FetchPartition,
        FetchRequest, Fetched, Filter, Grant, InstanceId, Mark, Page, Pending, ReleaseRequest,
        RenewRequest, Renewed, Settled, Settlement, State, Verdict,
    },
};
use uuid::Uuid;

use super::{Harness, OpenTransaction};

/// The time-to-live of the leases that cases take.
pub const TTL: Duration = Duration::from_secs(10);

/// A delay that no case outlives unless it moves the clock.
pub const LATER: Duration = Duration::from_secs(60);

/// The topic of every draft that a case does not say more about.
pub const TOPIC: &str = "orders.created";

/// `count` partitions.
#[must_use]
pub fn partitions(count: u16) -> Partitions {
    Partitions::new(count).expect("the suite asks for a power of two")
}

/// The ordering key with this text.
#[must_use]
pub fn key(text: &str) -> OrderingKey {
    OrderingKey::new(text).expect("the suite writes valid keys")
}

/// A draft without a key, with its label as payload.
pub fn plain(label: impl fmt::Display) -> Draft {
    Draft::new(TOPIC, label.to_string())
}

/// A draft with a key, with its label as payload.
pub fn keyed(key: &str, label: impl fmt::Display) -> Draft {
    plain(label).key(key)
}

/// Drafts of one key, labelled `0..count`.
#[must_use]
pub fn run_of(key: &str, count: usize) -> Vec<Draft> {
    (0..count).map(|label| keyed(key, label)).collect()
}

/// A text that falls into `wanted`: `stem` with a number behind it.
#[must_use]
pub fn key_in(partitions: Partitions, wanted: Partition, stem: &str) -> String {
    (0..100_000)
        .map(|n| format!("{stem}-{n}"))
        .find(|text| partitions.of(text) == wanted)
        .expect("a hash that reaches every partition")
}

/// Enqueues in a transaction of its own and commits it; all drafts must be new.
pub async fn enqueue<H: Harness>(harness: &H, drafts: &[Draft]) -> Vec<MessageId> {
    let mut open = harness.begin().await.expect("begin");
    let enqueued = open.enqueue(drafts).await.expect("enqueue");
    open.commit().await.expect("commit");
    assert_eq!(enqueued.len(), drafts.len(), "one result for each draft");
    enqueued
        .into_iter()
        .map(|one| match one {
            Enqueued::New(id) => id,
            Enqueued::Duplicate(id) => panic!("{id} is a duplicate in an empty store"),
        })
        .collect()
}

/// The change of a row that was executed.
#[must_use]
pub const fn done() -> Change {
    Change::Verdict(Verdict::Done { duplicate: false })
}

/// The change of a row that is tried again after a delay.
#[must_use]
pub fn retry(after: Duration) -> Change {
    Change::Verdict(Verdict::Retry {
        after,
        reason: "refused for now".into(),
    })
}

/// The change of a row whose outcome is unknown.
#[must_use]
pub fn unknown(after: Duration, alone: bool) -> Change {
    Change::Verdict(Verdict::Unknown {
        after,
        reason: "no answer".into(),
        alone,
    })
}

/// The change of a row that is given up.
#[must_use]
pub fn dead(halts: bool) -> Change {
    Change::Verdict(Verdict::Dead {
        reason: "refused for ever".into(),
        halts,
    })
}

/// The change that sets a row aside.
pub const WAIT: Change = Change::Mark(Mark::Wait);

/// The mark before an execution.
#[must_use]
pub const fn suspect(crashes: u32) -> Change {
    Change::Mark(Mark::Suspect { crashes })
}

/// The mark of a row that was not executed after all.
#[must_use]
pub const fn clear(crashes: u32) -> Change {
    Change::Mark(Mark::Clear { crashes })
}

/// The payload of a fetched row as text; the row must be readable.
#[must_use]
pub fn label(row: &Pending) -> String {
    match &row.body {
        Body::Message(message) => {
            String::from_utf8(message.payload().to_vec()).expect("a payload that the suite wrote")
        }
        Body::Corrupt(reason) => panic!("{:?} is corrupt: {reason}", row.seq),
    }
}

/// The labels of what may run, in the order in which it came.
#[must_use]
pub fn labels(fetched: &Fetched) -> Vec<String> {
    fetched.pending.iter().map(label).collect()
}

/// The states of all rows of the store by seq, with the labels given at enqueue as ids are not.
pub async fn states<S: Admin + ?Sized>(store: &S) -> Vec<State> {
    store
        .list(
            &Queue::Outbox,
            &Filter::default(),
            Page {
                after: None,
                limit: 1_000,
            },
        )
        .await
        .expect("list")
        .into_iter()
        .map(|entry| entry.state)
        .collect()
}

/// An instance that works the outbox: registers, acquires, fetches, settles.
#[derive(Debug)]
pub struct Instance<S> {
    store: Arc<S>,
    /// Its id.
    pub id: InstanceId,
    /// The partitions it holds, with their epochs.
    pub held: BTreeMap<Partition, Epoch>,
}

impl<S: Enqueue + Admin> Instance<S> {
    /// Registers a new instance that holds nothing.
    pub async fn register(store: &Arc<S>) -> Self {
        let one = Self::unregistered(store);
        let renewed = one.renewal(true).await;
        assert_eq!(renewed, Renewed::Alive, "a new instance registers");
        one
    }

    /// Registers a new instance and takes all partitions, which must be free.
    pub async fn owner(store: &Arc<S>) -> Self {
        let mut one = Self::register(store).await;
        let (share, granted) = one.acquire().await;
        assert_eq!(
            usize::from(share),
            granted.len(),
            "the only instance gets its whole share"
        );
        one
    }

    /// An instance that the store does not know.
    #[must_use]
    pub fn unregistered(store: &Arc<S>) -> Self {
        Self {
            store: Arc::clone(store),
            id: InstanceId::new(Uuid::from_u128(fastrand::u128(..))),
            held: BTreeMap::new(),
        }
    }

    /// Renews for [`TTL`], or registers.
    pub async fn renewal(&self, register: bool) -> Renewed {
        self.store
            .renew(&RenewRequest {
                queue: Queue::Outbox,
                instance: self.id,
                ttl: TTL,
                register,
                in_flight: 0,
            })
            .await
            .expect("renew")
    }

    /// Asks for partitions; what was granted is held from now on.
    pub async fn try_acquire(&mut self) -> Acquired {
        let held = u16::try_from(self.held.len()).expect("at most 256 partitions");
        let acquired = self
            .store
            .acquire(&AcquireRequest {
                queue: Queue::Outbox,
                instance: self.id,
                held,
            })
            .await
            .expect("acquire");
        if let Acquired::Share { granted, .. } = &acquired {
            for grant in granted {
                self.held.insert(grant.partition, grant.epoch);
            }
        }
        acquired
    }

    /// Asks for partitions; the instance must be alive. Returns its share and what it got now.
    pub async fn acquire(&mut self) -> (u16, Vec<Grant>) {
        match self.try_acquire().await {
            Acquired::Share { share, granted } => (share, granted),
            Acquired::Gone => panic!("an instance that is alive is told that it is gone"),
        }
    }

    /// Gives back some partitions and goes on.
    pub async fn release(&mut self, partitions: &[Partition]) {
        let given = partitions
            .iter()
            .filter_map(|one| self.held.remove(one).map(|epoch| (*one, epoch)))
            .collect();
        self.release_request(given, false).await;
    }

    /// Gives back everything and leaves the queue.
    pub async fn leave(&mut self) {
        let given = std::mem::take(&mut self.held).into_iter().collect();
        self.release_request(given, true).await;
    }

    /// Sends a release as it is.
    pub async fn release_request(&self, partitions: Vec<(Partition, Epoch)>, leave: bool) {
        self.store
            .release(&ReleaseRequest {
                queue: Queue::Outbox,
                instance: self.id,
                partitions,
                leave,
            })
            .await
            .expect("release");
    }

    /// A request for up to 1,000 rows of every partition held, with nothing left out.
    #[must_use]
    pub fn request(&self) -> FetchRequest {
        FetchRequest {
            queue: Queue::Outbox,
            partitions: self
                .held
                .iter()
                .map(|(&partition, &epoch)| FetchPartition {
                    partition,
                    epoch,
                    limit: 1_000,
                    held: Vec::new(),
                    full: Vec::new(),
                    release: Vec::new(),
                    sweep: false,
                })
                .collect(),
            limit: 1_000,
            bytes: 64 * 1024 * 1024,
        }
    }

    /// Fetches with [`request`](Self::request).
    pub async fn fetch(&self) -> Fetched {
        self.fetch_with(|_| {}).await
    }

    /// Fetches with [`request`](Self::request) as `change` changes it.
    pub async fn fetch_with(&self, change: impl FnOnce(&mut FetchRequest)) -> Fetched {
        let mut request = self.request();
        change(&mut request);
        self.store.fetch(&request).await.expect("fetch")
    }

    /// Fetches with a sweep of every partition.
    pub async fn sweep(&self) -> Fetched {
        self.fetch_with(|request| {
            for partition in &mut request.partitions {
                partition.sweep = true;
            }
        })
        .await
    }

    /// Fetches the only row that is due.
    pub async fn one(&self) -> Pending {
        let mut fetched = self.fetch().await;
        assert_eq!(
            fetched.pending.len(),
            1,
            "exactly one row is due: {:?}",
            labels(&fetched)
        );
        fetched.pending.remove(0)
    }

    /// The settlement of a row under the epoch that this instance holds, with its attempts as they
    /// are.
    #[must_use]
    pub fn settlement(&self, row: &Pending, change: Change) -> Settlement {
        let epoch = self
            .held
            .get(&row.partition)
            .expect("the instance holds the partition");
        Settlement {
            partition: row.partition,
            epoch: *epoch,
            seq: row.seq,
            revision: row.revision,
            attempt: row.attempt,
            change,
        }
    }

    /// Settles one row.
    pub async fn settle(&self, row: &Pending, change: Change) -> Settled {
        let settlement = self.settlement(row, change);
        self.send(&settlement).await
    }

    /// Sends one settlement as it is.
    pub async fn send(&self, settlement: &Settlement) -> Settled {
        let settled = self.send_all(std::slice::from_ref(settlement)).await;
        settled
            .into_iter()
            .next()
            .expect("one result for one settlement")
    }

    /// Sends settlements as they are.
    pub async fn send_all(&self, settlements: &[Settlement]) -> Vec<Settled> {
        let settled = self.store.settle(settlements).await.expect("settle");
        assert_eq!(
            settled.len(),
            settlements.len(),
            "one result for each settlement"
        );
        settled
    }

    /// Settles one row, which must apply.
    pub async fn apply(&self, row: &Pending, change: Change) {
        let settled = self.settle(row, change).await;
        assert_eq!(settled, Settled::Applied, "settling {:?}", row.seq);
    }

    /// The store that it works.
    #[must_use]
    pub const fn store(&self) -> &Arc<S> {
        &self.store
    }
}
