//! Leases, fetching and settling through the gate.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use iobox_core::{
    Result, Store,
    partition::Partition,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin, Body, Change, Epoch, FetchRequest, Fetched, InstanceId,
        Mark, ReleaseRequest, RenewRequest, Renewed, Settled, Settlement, Signal, StoreInfo,
        Verdict, WakeUp,
    },
};

use super::{GatedStore, call::Places};
use crate::{
    history::{Event, GrantOf, Kind, Result as SettleResult},
    point::Point,
};

pub(super) fn kind_of(change: &Change) -> Kind {
    match change {
        Change::Verdict(Verdict::Done { .. }) => Kind::Done,
        Change::Verdict(Verdict::Retry { .. }) => Kind::Retry,
        Change::Verdict(Verdict::Unknown { .. }) => Kind::Unknown,
        Change::Verdict(Verdict::Dead { halts, .. }) => Kind::Dead { halts: *halts },
        Change::Mark(Mark::Suspect { crashes }) => Kind::Mark { crashes: *crashes },
        Change::Mark(Mark::Clear { .. }) => Kind::Clear,
    }
}

pub(super) const fn result_of(settled: Settled) -> SettleResult {
    match settled {
        Settled::Applied => SettleResult::Applied,
        Settled::LeaseLost => SettleResult::LeaseLost,
        Settled::Superseded => SettleResult::Superseded,
    }
}

/// Where somebody may die before a settle is on its way.
fn before_settle(settlements: &[Settlement]) -> Vec<Point> {
    let any = |kind: fn(&Verdict) -> bool| {
        settlements
            .iter()
            .any(|one| matches!(&one.change, Change::Verdict(verdict) if kind(verdict)))
    };
    let mut points = vec![Point::Settling];
    if settlements.len() > 1 {
        points.push(Point::MidSettle);
    }
    if any(|one| matches!(one, Verdict::Retry { .. } | Verdict::Unknown { .. })) {
        points.push(Point::Retrying);
    }
    if any(|one| matches!(one, Verdict::Dead { .. })) {
        points.push(Point::Burying);
    }
    points
}

impl GatedStore {
    /// Who owns each partition, and under which epoch.
    async fn owners(&self) -> BTreeMap<Partition, (Option<InstanceId>, Epoch)> {
        let stats = self.inner.stats(&self.queue).await;
        let partitions = stats.map(|stats| stats.partitions).unwrap_or_default();
        let owner =
            |one: &iobox_core::store::PartitionStats| (one.partition, (one.owner, one.epoch));
        partitions.iter().map(owner).collect()
    }

    async fn settle_now(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let results = self.inner.settle(settlements).await?;
        for (settlement, result) in settlements.iter().zip(&results) {
            self.history.add(Event::Settled {
                process: self.life.process,
                partition: settlement.partition,
                epoch: settlement.epoch,
                seq: settlement.seq,
                revision: settlement.revision,
                kind: kind_of(&settlement.change),
                result: result_of(*result),
                id: self.id_of(settlement.seq).await,
            });
        }
        Ok(results)
    }

    async fn release_now(&self, request: &ReleaseRequest) -> Result<()> {
        let before = self.owners().await;
        self.inner.release(request).await?;
        let held = |grant: &&iobox_core::store::Grant| {
            before.get(&grant.partition) == Some(&(Some(request.instance), grant.epoch))
        };
        let released = request.partitions.iter().filter(held);
        self.history.add(Event::Released {
            process: self.life.process,
            instance: request.instance,
            partitions: released.map(|grant| grant.partition).collect(),
            leave: request.leave,
        });
        Ok(())
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.before().await?;
        self.inner.open(queue).await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        let (this, request) = (self.clone(), request.clone());
        let places = Places::before([Point::Renewing]).after([Point::Renewing]);
        self.call(places, async move {
            let renewed = this.inner.renew(&request).await?;
            let process = this.life.process;
            this.history.add(match renewed {
                Renewed::Alive => Event::Renewed {
                    process,
                    instance: request.instance,
                    until: this.inner.clock().now() + request.ttl,
                },
                Renewed::Gone => Event::Gone { process },
            });
            Ok(renewed)
        })
        .await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        let (this, request) = (self.clone(), request.clone());
        let places = Places::default().after([Point::Granted]);
        self.call(places, async move {
            let acquired = this.inner.acquire(&request).await?;
            if let Acquired::Share { granted, .. } = &acquired
                && !granted.is_empty()
            {
                this.history.add(Event::Granted {
                    process: this.life.process,
                    instance: request.instance,
                    grants: granted.iter().map(GrantOf::from).collect(),
                    now: this.inner.clock().now(),
                });
            }
            Ok(acquired)
        })
        .await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        let (this, request) = (self.clone(), request.clone());
        self.call(Places::default(), async move {
            this.release_now(&request).await
        })
        .await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let (this, request) = (self.clone(), request.clone());
        let places = Places::default().after([Point::Fetched]);
        self.call(places, async move {
            let fetched = this.inner.fetch(&request).await?;
            for pending in &fetched.pending {
                if let Body::Message(message) = &pending.body {
                    this.name(pending.seq, message.id().as_str());
                }
            }
            Ok(fetched)
        })
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let (this, settlements) = (self.clone(), settlements.to_vec());
        let places = Places::before(before_settle(&settlements)).after([Point::Settled]);
        self.call(places, async move { this.settle_now(&settlements).await })
            .await
    }

    fn settles_at_once(&self) -> usize {
        self.inner.settles_at_once()
    }

    fn signal(&self) -> &Signal {
        self.inner.signal()
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        None
    }
}
