//! An instance that works the outbox: registers, acquires, fetches, settles.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iobox_core::{
    message::OrderingKey,
    partition::Partition,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Change, Epoch, FetchPartition, FetchRequest, Fetched, Grant,
        InstanceId, Pending, ReleaseRequest, RenewRequest, Renewed, Seq, Settled, Settlement,
        Store, Verdict,
    },
};
use uuid::Uuid;

use super::{TTL, aside_count, labels};
use crate::suite::Harness;

/// An instance; its methods panic where the store fails.
#[derive(Debug)]
pub struct Instance<S> {
    store: Arc<S>,
    /// Its id.
    pub id: InstanceId,
    /// The partitions it holds, with their epochs.
    pub held: BTreeMap<Partition, Epoch>,
}

impl<S: Store> Instance<S> {
    /// An instance that the store does not know.
    #[must_use]
    pub fn unregistered(store: &Arc<S>) -> Self {
        Self {
            store: Arc::clone(store),
            id: InstanceId::new(Uuid::from_u128(fastrand::u128(..))),
            held: BTreeMap::new(),
        }
    }

    /// Registers a new instance that holds nothing.
    pub async fn register(store: &Arc<S>) -> Self {
        let one = Self::unregistered(store);
        let renewed = one.renewal(true).await;
        assert_eq!(renewed, Renewed::Alive, "a new instance registers");
        one
    }

    /// Registers a new instance, the only one, and takes all partitions, which must be free.
    pub async fn owner(store: &Arc<S>) -> Self {
        let mut one = Self::register(store).await;
        let (share, granted) = one.acquire().await;
        let granted = granted.len();
        assert_eq!(usize::from(share), granted, "it gets its whole share");
        one
    }

    /// Lets the lease of every instance run out; then a new one takes all partitions.
    pub async fn heir<H: Harness<Store = S>>(harness: &H) -> Self {
        harness.advance(TTL * 2).await;
        Self::owner(harness.store()).await
    }

    /// Renews for [`TTL`], or registers.
    pub async fn renewal(&self, register: bool) -> Renewed {
        self.renewal_with(register, 0).await
    }

    /// Renews for [`TTL`], or registers, with a number of messages in flight.
    pub async fn renewal_with(&self, register: bool, in_flight: u32) -> Renewed {
        let request = RenewRequest {
            queue: Queue::Outbox,
            instance: self.id,
            ttl: TTL,
            register,
            in_flight,
        };
        self.store.renew(&request).await.expect("renew")
    }

    /// Asks for partitions; what was granted is held from now on.
    pub async fn try_acquire(&mut self) -> Acquired {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: self.id,
            held: self
                .held
                .iter()
                .map(|(one, epoch)| (*one, *epoch))
                .collect(),
        };
        let acquired = self.store.acquire(&request).await.expect("acquire");
        if let Acquired::Share { granted, .. } = &acquired {
            let grants = granted.iter().map(|grant| (grant.partition, grant.epoch));
            self.held.extend(grants);
        }
        acquired
    }

    /// Lets an acquisition take effect that was sent when the instance held nothing, and whose reply
    /// comes too late for it. Returns what was granted, of which the instance does not know.
    pub async fn acquire_late(&self) -> Vec<Grant> {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: self.id,
            held: Vec::new(),
        };
        match self.store.acquire(&request).await.expect("acquire") {
            Acquired::Share { granted, .. } => granted,
            Acquired::Gone => panic!("an instance that is alive is told that it is gone"),
        }
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
        self.send_release(given, false).await;
    }

    /// Gives back everything and goes on.
    pub async fn release_all(&mut self) {
        let given = std::mem::take(&mut self.held).into_iter().collect();
        self.send_release(given, false).await;
    }

    /// Gives back everything and leaves the queue.
    pub async fn leave(&mut self) {
        let given = std::mem::take(&mut self.held).into_iter().collect();
        self.send_release(given, true).await;
    }

    /// Sends a release as it is.
    pub async fn send_release(&self, partitions: Vec<(Partition, Epoch)>, leave: bool) {
        let partitions = partitions
            .into_iter()
            .map(|(partition, epoch)| Grant {
                partition,
                epoch,
                abandoned: false,
            })
            .collect();
        self.send_grants(partitions, leave).await;
    }

    /// Sends a release that says of each partition whether it is still abandoned.
    pub async fn send_grants(&self, partitions: Vec<Grant>, leave: bool) {
        let request = ReleaseRequest {
            queue: Queue::Outbox,
            instance: self.id,
            partitions,
            leave,
        };
        self.store.release(&request).await.expect("release");
    }

    /// A request for up to 1,000 rows of every partition held, with nothing left out.
    #[must_use]
    pub fn request(&self) -> FetchRequest {
        let part = |(&partition, &epoch)| FetchPartition {
            partition,
            epoch,
            limit: 1_000,
            held: Vec::new(),
            full: Vec::new(),
            release: Vec::new(),
            sweep: false,
        };
        FetchRequest {
            queue: Queue::Outbox,
            partitions: self.held.iter().map(part).collect(),
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

    /// Fetches with each partition's part of the request as `change` changes it.
    pub async fn fetch_each(&self, change: impl Fn(&mut FetchPartition)) -> Fetched {
        self.fetch_with(|request| request.partitions.iter_mut().for_each(change))
            .await
    }

    /// Fetches with a sweep of every partition.
    pub async fn sweep(&self) -> Fetched {
        self.fetch_each(|part| part.sweep = true).await
    }

    /// Fetches with the release of a key in every partition.
    pub async fn release_key(&self, key: &OrderingKey) -> Fetched {
        self.fetch_each(|part| part.release = vec![key.clone()])
            .await
    }

    /// Fetches the only row that may run.
    pub async fn one(&self) -> Pending {
        let mut fetched = self.fetch().await;
        let count = fetched.pending.len();
        assert_eq!(count, 1, "exactly one row may run: {:?}", labels(&fetched));
        fetched.pending.remove(0)
    }

    /// The settlement of a row under the epoch that this instance holds. An attempt is counted when it is
    /// done; else its attempts stay as they are.
    #[must_use]
    pub fn settlement(&self, row: &Pending, change: Change) -> Settlement {
        Settlement {
            partition: row.partition,
            epoch: self.epoch(row.partition),
            seq: row.seq,
            revision: row.revision,
            attempt: row.attempt
                + u32::from(matches!(change, Change::Verdict(Verdict::Done { .. }))),
            change,
        }
    }

    /// The epoch under which it holds a partition.
    #[must_use]
    pub fn epoch(&self, partition: Partition) -> Epoch {
        let epoch = self.held.get(&partition).copied();
        epoch.expect("the instance holds the partition")
    }

    /// Settles one row.
    pub async fn settle(&self, row: &Pending, change: Change) -> Settled {
        self.send(&self.settlement(row, change)).await
    }

    /// Sends one settlement as it is.
    pub async fn send(&self, settlement: &Settlement) -> Settled {
        let settled = self.send_all(std::slice::from_ref(settlement)).await;
        settled.first().copied().expect("one result")
    }

    /// Sends settlements as they are.
    pub async fn send_all(&self, settlements: &[Settlement]) -> Vec<Settled> {
        let settled = self.store.settle(settlements).await.expect("settle");
        let (want, got) = (settlements.len(), settled.len());
        assert_eq!(want, got, "one result for each settlement");
        settled
    }

    /// Settles one row, which must apply.
    pub async fn apply(&self, row: &Pending, change: Change) {
        self.apply_all(std::slice::from_ref(row), &change).await;
    }

    /// Settles rows in one call; all must apply.
    pub async fn apply_all(&self, rows: &[Pending], change: &Change) {
        let settlements: Vec<_> = rows
            .iter()
            .map(|row| self.settlement(row, change.clone()))
            .collect();
        for (row, settled) in rows.iter().zip(self.send_all(&settlements).await) {
            assert_eq!(settled, Settled::Applied, "{change:?} of {:?}", row.seq);
        }
    }

    /// Sets rows aside: in fetches to which their keys are full, and every other row is held.
    ///
    /// # Panics
    /// When one of them has no key, or cannot be set aside.
    pub async fn set_aside(&self, rows: &[Pending]) {
        let mut full: Vec<OrderingKey> = Vec::new();
        for row in rows {
            let key = row.key.clone().expect("a message with a key");
            if !full.contains(&key) {
                full.push(key);
            }
        }
        let seqs: BTreeSet<Seq> = rows.iter().map(|row| row.seq).collect();
        let all = self.fetch().await;
        let others = all.pending.iter().map(|row| row.seq);
        let held: Vec<Seq> = others.filter(|seq| !seqs.contains(seq)).collect();
        let mut count = aside_count(&all);
        while count < rows.len() {
            let fetched = self
                .fetch_each(|part| {
                    part.limit = 1;
                    part.held.clone_from(&held);
                    part.full.clone_from(&full);
                })
                .await;
            let moved = aside_count(&fetched);
            assert!(moved > 0, "{count} of {} rows were set aside", rows.len());
            count += moved;
        }
    }

    /// The store that it works.
    #[must_use]
    pub const fn store(&self) -> &Arc<S> {
        &self.store
    }
}
