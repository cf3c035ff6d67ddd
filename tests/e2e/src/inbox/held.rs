//! The held source: a real one that stands still behind reading, or between store and ack.

use std::future::pending;

use async_trait::async_trait;
use iobox::{
    Result,
    inbox::SourceName,
    source::{Batch, Order, Reader, Room, Source, Start},
};

use super::orders::Orders;
use crate::{
    gauge::{Gauge, Held},
    say,
};

/// Reads by another source. The order `read` holds a batch that is read and not stored, the order
/// `stored` one that is stored and not acked; both for ever.
#[derive(Debug)]
pub(crate) struct HeldSource<S> {
    inner: S,
    orders: Orders,
    gauge: Gauge,
}

impl<S> HeldSource<S> {
    pub(crate) const fn new(inner: S, orders: Orders, gauge: Gauge) -> Self {
        Self {
            inner,
            orders,
            gauge,
        }
    }
}

#[async_trait]
impl<S: Source> Source for HeldSource<S> {
    fn name(&self) -> &SourceName {
        self.inner.name()
    }

    fn order(&self) -> Order {
        self.inner.order()
    }

    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let inner = self.inner.open(start).await?;
        say("READING");
        Ok(Box::new(HeldReader {
            inner,
            orders: self.orders.clone(),
            gauge: self.gauge.clone(),
            unacked: Vec::new(),
            held: None,
        }))
    }
}

#[derive(Debug)]
struct HeldReader {
    inner: Box<dyn Reader>,
    orders: Orders,
    gauge: Gauge,
    /// The ids of the batch that is not acked.
    unacked: Vec<String>,
    /// Those, in hand until they are acked.
    held: Option<Held>,
}

impl HeldReader {
    /// Stands still for ever with a batch in hand, if it is ordered to.
    async fn obey(&mut self, order: &str) {
        if !self.unacked.is_empty() && self.orders.take(order) {
            say(&format!(
                "{} {}",
                order.to_uppercase(),
                self.unacked.join(" ")
            ));
            pending().await
        }
    }
}

#[async_trait]
impl Reader for HeldReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let batch = self.inner.next(room).await?;
        let ids = batch.deliveries.iter();
        self.unacked = ids.map(|one| one.message().id().to_string()).collect();
        self.held = (!self.unacked.is_empty()).then(|| self.gauge.hold(self.unacked.len()));
        self.obey("read").await;
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        self.obey("stored").await;
        self.inner.ack().await?;
        self.held = None;
        Ok(())
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}
