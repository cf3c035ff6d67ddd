//! The operations of a program: what applications and instances do.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use iobox_core::{
    partition::{Partition, Partitions},
    store::{Grant, Renewed, Revision, Seq, Settlement},
};

use super::log::Log;
use crate::suite::{
    Harness,
    model::{Model, Row},
    support::{Instance, TTL, enqueue, entries, partitions, plain},
};

/// The unit of every delay: far longer than a program runs, so that the clock of the model, which
/// moves only when it is told to, agrees with the store's on what is due.
pub(super) const UNIT: Duration = Duration::from_secs(60);

/// What a program knows of a row that it fetched: enough to settle it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) partition: Partition,
    pub(super) seq: Seq,
    pub(super) revision: Revision,
}

/// A program under way.
pub(super) struct Program<H: Harness> {
    pub(super) harness: H,
    pub(super) partitions: Partitions,
    pub(super) rng: Rng,
    pub(super) log: Log,
    pub(super) model: Model,
    pub(super) owner: Instance<H::Store>,
    pub(super) ghosts: Vec<Instance<H::Store>>,
    pub(super) known: Vec<Known>,
    pub(super) sent: Vec<Settlement>,
    pub(super) replays: Vec<i64>,
    pub(super) enqueued: usize,
}

impl<H: Harness> Program<H> {
    pub(super) async fn start(seed: u64) -> Self {
        let partitions = partitions(2);
        let harness = H::fresh(partitions).await;
        let owner = Instance::owner(harness.store()).await;
        Self {
            harness,
            partitions,
            rng: Rng::with_seed(seed),
            log: Log::new(seed),
            model: Model::default(),
            owner,
            ghosts: Vec::new(),
            known: Vec::new(),
            sent: Vec::new(),
            replays: Vec::new(),
            enqueued: 0,
        }
    }

    pub(super) async fn step(&mut self) {
        match self.rng.u8(..100) {
            0..16 => self.enqueue().await,
            16..40 => self.fetch().await,
            40..70 => self.settle().await,
            70..74 => self.repeat().await,
            74..80 => self.advance().await,
            80..84 => self.take_over().await,
            84 | 85 => self.haunt().await,
            86..91 => self.replay().await,
            91..95 => self.discard().await,
            95..97 => self.purge().await,
            97 => self.raise().await,
            _ => self.corrupt().await,
        }
    }

    pub(super) async fn enqueue(&mut self) {
        let count = self.rng.usize(1..5);
        let mut drafts = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..count {
            let draft = plain(self.enqueued);
            // A row without a key lies where its id says: the same place under the same seed.
            let id = format!("m{}", self.enqueued);
            self.enqueued += 1;
            let key = (self.rng.u8(..5) > 0).then(|| self.key());
            drafts.push(match &key {
                Some(key) => draft.key(key),
                None => draft.id(id),
            });
            keys.push(key);
        }
        self.log.note(format_args!("enqueue {keys:?}"));
        let ids = enqueue(&self.harness, &drafts).await;
        let listed: BTreeMap<_, _> = entries(self.harness.store().as_ref())
            .await
            .into_iter()
            .map(|entry| (entry.id, entry.seq))
            .collect();
        for (id, key) in ids.iter().zip(keys) {
            let id = id.to_string();
            let seq = *listed.get(&id).expect("what was enqueued is listed");
            let last = self.model.rows.last().map(|row| row.seq);
            assert!(last < Some(seq), "seqs grow");
            let partition = self.partitions.of(key.as_deref().unwrap_or(&id));
            self.model.rows.push(Row::new(id, seq, partition, key));
        }
    }

    pub(super) async fn settle(&mut self) {
        let held = self.owner.held.clone();
        let mut batch = BTreeMap::new();
        for _ in 0..self.rng.usize(1..6) {
            if let Some(settlement) = self.settlement(&held) {
                batch.entry(settlement.seq).or_insert(settlement);
            }
        }
        let mut batch: Vec<_> = batch.into_values().collect();
        self.rng.shuffle(&mut batch);
        self.send(batch, true).await;
    }

    /// Sends a batch again, as after a lost reply.
    pub(super) async fn repeat(&mut self) {
        let batch = std::mem::take(&mut self.sent);
        let held = |one: &Settlement| self.owner.held.get(&one.partition) == Some(&one.epoch);
        let batch = batch.into_iter().filter(held).collect();
        self.send(batch, true).await;
    }

    pub(super) async fn send(&mut self, batch: Vec<Settlement>, held: bool) {
        self.log
            .note(format_args!("settle (held: {held}) {batch:?}"));
        let settled = self.owner.send_all(&batch).await;
        for (settlement, settled) in batch.iter().zip(settled) {
            let expected = self.model.settle(settlement, held);
            assert!(
                expected.allows(settled),
                "{settled:?} instead of {expected:?} for {settlement:?}"
            );
        }
        self.sent = batch;
    }

    pub(super) async fn advance(&mut self) {
        let by = UNIT * self.rng.u32(1..4);
        self.log.note(format_args!("advance {by:?}"));
        self.harness.advance(by).await;
        self.model.now += by;
    }

    /// Lets the owner die, or leave, and another instance take over.
    pub(super) async fn take_over(&mut self) {
        let dies = self.rng.bool();
        self.log.note(format_args!("take over (dies: {dies})"));
        let before = self.owner.held.clone();
        let heir = if dies {
            self.model.now += TTL * 2;
            Instance::heir(&self.harness).await
        } else {
            self.owner.leave().await;
            self.harness.advance(TTL * 2).await;
            self.model.now += TTL * 2;
            Instance::owner(self.harness.store()).await
        };
        let mut ghost = std::mem::replace(&mut self.owner, heir);
        ghost.held = before;
        self.ghosts.push(ghost);
    }

    /// Lets an acquisition of the owner take effect late: nothing is the owner's under the epochs that
    /// it knows, until it asks again.
    pub(super) async fn raise(&mut self) {
        self.log.note(format_args!("late acquisition"));
        let alive = self.owner.renewal(false).await;
        assert_eq!(alive, Renewed::Alive, "nobody has deleted it");
        let raised = self.owner.acquire_late().await;
        let old = self.owner.held.clone();
        assert_eq!(raised.len(), old.len(), "all that it holds");
        if let Some(settlement) = self.settlement(&old) {
            self.send(vec![settlement], false).await;
        }
        let (_, granted) = self.owner.acquire().await;
        assert_eq!(granted.len(), raised.len(), "it gets again what it holds");
        let grew = |grant: &&Grant| raised.iter().any(|last| grant.epoch <= last.epoch);
        assert!(!granted.iter().any(|grant| grew(&grant)), "{granted:?}");
    }

    /// Lets an instance that lost its partitions settle and sweep.
    pub(super) async fn haunt(&mut self) {
        let Some(ghost) = self.ghosts.pop() else {
            return;
        };
        if let Some(settlement) = self.settlement(&ghost.held) {
            self.send(vec![settlement], false).await;
        }
        self.log.note(format_args!("sweep of a ghost"));
        let released = ghost.sweep().await.released;
        assert!(released.is_empty(), "a ghost released {released:?}");
    }
}
