//! A source whose calls pass the gate.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use iobox::{
    Result,
    inbox::SourceName,
    source::{Batch, Order, Reader, Room, Source, Start},
};

use crate::{gate::Gate, script::Event};

#[derive(Debug)]
pub(crate) struct GatedSource<S> {
    pub(crate) inner: S,
    pub(crate) gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedReader {
    inner: Box<dyn Reader>,
    gate: Arc<Gate>,
}

#[async_trait]
impl<S: Source + fmt::Debug> Source for GatedSource<S> {
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
        let gate = Arc::clone(&self.gate);
        Ok(Box::new(GatedReader { inner, gate }))
    }
}

#[async_trait]
impl Reader for GatedReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        self.gate.pass(Event::Read);
        self.inner.next(room).await
    }

    async fn ack(&mut self) -> Result<()> {
        self.gate.pass(Event::Commit);
        self.inner.ack().await
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}
