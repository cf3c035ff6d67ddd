//! Administration through the gate: what changes rows may fail, come late, and be given up.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::MessageId,
    queue::Queue,
    store::{
        Admin, Discarded, Entry, Filter, Page, ReplayId, ReplayProgress, Replayed, Selection, Stats,
    },
};

use super::{GatedStore, call::Places};
use crate::{
    history::{Event, Id},
    point::Point,
};

impl GatedStore {
    /// All rows, past the gate.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let page = Page {
            after: None,
            limit: 1_000,
        };
        self.inner
            .list(&self.queue, &Filter::default(), page)
            .await
            .expect("the page is valid")
    }

    async fn ids(&self) -> BTreeSet<Id> {
        let entries = self.entries().await;
        entries.into_iter().map(|entry| entry.id).collect()
    }

    async fn purge_now(&self, retention: Duration, limit: u32) -> Result<u64> {
        let before = self.ids().await;
        let purged = self.inner.purge(&self.queue, retention, limit).await?;
        let after = self.ids().await;
        let ids: Vec<Id> = before.difference(&after).cloned().collect();
        if !ids.is_empty() {
            self.history.add(Event::Purged { ids });
        }
        Ok(purged)
    }
}

#[async_trait]
impl Admin for GatedStore {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.inner.stats(queue).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.inner.list(queue, filter, page).await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.inner.get(queue, id).await
    }

    async fn replay(&self, _: &Queue, selection: &Selection, dry: bool) -> Result<Replayed> {
        let (this, selection) = (self.clone(), selection.clone());
        let places = Places::before([Point::Replaying]).after([Point::Replaying]);
        self.call(places, async move {
            let replayed = this.inner.replay(&this.queue, &selection, dry).await?;
            if let Selection::One(id) = &selection
                && replayed.count > 0
            {
                this.history.add(Event::Replayed {
                    id: id.to_string(),
                    out_of_order: replayed.out_of_order > 0,
                });
            }
            Ok(replayed)
        })
        .await
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.inner.replay_progress(queue, replay).await
    }

    async fn discard(&self, _: &Queue, selection: &Selection, dry: bool) -> Result<Discarded> {
        let (this, selection) = (self.clone(), selection.clone());
        self.call(Places::default(), async move {
            let discarded = this.inner.discard(&this.queue, &selection, dry).await?;
            if let Selection::One(id) = &selection
                && discarded.count > 0
            {
                this.history.add(Event::Discarded { id: id.to_string() });
            }
            Ok(discarded)
        })
        .await
    }

    async fn purge(&self, _: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        let this = self.clone();
        let places = Places::before([Point::Purging]).after([Point::Purging]);
        self.call(
            places,
            async move { this.purge_now(retention, limit).await },
        )
        .await
    }
}
