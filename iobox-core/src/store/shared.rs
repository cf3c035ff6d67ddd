//! A store behind an `Arc` is a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    AcquireRequest, Acquired, Admin, Discarded, Enqueue, Enqueued, Entry, FetchRequest, Fetched,
    Filter, Page, ReleaseRequest, RenewRequest, Renewed, ReplayId, ReplayProgress, Replayed,
    Selection, Settled, Settlement, Signal, Stats, Store, StoreInfo, WakeUp,
};
use crate::{
    Result,
    message::{Draft, MessageId},
    queue::Queue,
};

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        (**self).open(queue).await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        (**self).renew(request).await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        (**self).acquire(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        (**self).release(request).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        (**self).fetch(request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        (**self).settle(settlements).await
    }

    fn settles_at_once(&self) -> usize {
        (**self).settles_at_once()
    }

    fn signal(&self) -> &Signal {
        (**self).signal()
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        (**self).wake_up()
    }
}

#[async_trait]
impl<S: Enqueue + ?Sized> Enqueue for Arc<S> {
    type Tx = S::Tx;

    async fn enqueue(&self, tx: &mut Self::Tx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        (**self).enqueue(tx, drafts).await
    }
}

#[async_trait]
impl<S: Admin + ?Sized> Admin for Arc<S> {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        (**self).stats(queue).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        (**self).list(queue, filter, page).await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        (**self).get(queue, id).await
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        (**self).replay(queue, selection, dry_run).await
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        (**self).replay_progress(queue, replay).await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        (**self).discard(queue, selection, dry_run).await
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        (**self).purge(queue, retention, limit).await
    }
}
