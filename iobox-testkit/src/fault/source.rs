//! A source whose deliveries come twice or in another order, and whose acks get lost.

use std::collections::BTreeMap;

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::{Delivery, SourceName},
    source::{Batch, Order, Reader, Room, Source, Start},
};
use tokio::time::sleep;

use super::{
    CrashPoint, Fault,
    plan::{Life, lost},
};

/// A source that fails as its [`Faults`](super::Faults) say; each batch meets its own.
#[derive(Debug, Clone)]
pub struct FaultySource<S> {
    inner: S,
    life: Life,
}

impl<S> FaultySource<S> {
    pub(super) const fn new(inner: S, life: Life) -> Self {
        Self { inner, life }
    }

    /// What is inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

#[async_trait]
impl<S: Source> Source for FaultySource<S> {
    fn name(&self) -> &SourceName {
        self.inner.name()
    }

    fn order(&self) -> Order {
        self.inner.order()
    }

    async fn probe(&self) -> Result<()> {
        self.life.go_on().await;
        if self.life.is_cut() {
            return Err(lost("the line is cut: the probe was not sent"));
        }
        self.inner.probe().await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        self.probe().await?;
        let inner = self.inner.open(start).await?;
        let life = self.life.clone();
        Ok(Box::new(FaultyReader { inner, life }))
    }
}

#[derive(Debug)]
struct FaultyReader {
    inner: Box<dyn Reader>,
    life: Life,
}

#[async_trait]
impl Reader for FaultyReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        self.life.go_on().await;
        if self.life.is_cut() {
            return Err(lost("the line is cut"));
        }
        let mut batch = tokio::select! {
            biased;
            batch = self.inner.next(room) => batch?,
            () = self.life.cut() => return Err(lost("the line was cut")),
        };
        if batch.is_empty() {
            return Ok(batch);
        }
        match self.life.draw() {
            Some(Fault::Before | Fault::After) => return Err(lost("the connection ended")),
            Some(Fault::Delay(by)) => sleep(by).await,
            Some(Fault::Twice) => batch.deliveries.extend(batch.deliveries.clone()),
            Some(Fault::Reorder) => batch.deliveries = reordered(batch.deliveries),
            None => {}
        }
        self.life.go_on().await;
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        self.life.reach(CrashPoint::Stored).await;
        if self.life.is_cut() {
            return Err(lost("the line is cut: the ack was not sent"));
        }
        let fault = self.life.draw();
        if fault == Some(Fault::Before) {
            return Err(lost("the ack was not sent"));
        }
        let acked = self.inner.ack().await;
        self.life.reach(CrashPoint::AckSent).await;
        match fault {
            Some(Fault::After) => Err(lost("the answer to the ack is lost")),
            _ => acked,
        }
    }

    async fn close(self: Box<Self>) {
        self.life.go_on().await;
        self.inner.close().await;
    }
}

/// The same deliveries in another order, that of each key as it was.
fn reordered(deliveries: Vec<Delivery>) -> Vec<Delivery> {
    let mut by_key: BTreeMap<(usize, String), Vec<Delivery>> = BTreeMap::new();
    for (at, delivery) in deliveries.into_iter().enumerate() {
        let key = delivery.message().key();
        let place = match key {
            Some(key) => (usize::MAX, key.to_string()),
            None => (at, String::new()),
        };
        by_key.entry(place).or_default().push(delivery);
    }
    by_key.into_values().rev().flatten().collect()
}
