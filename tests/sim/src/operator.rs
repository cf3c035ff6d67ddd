//! The operator: replays and discards dead letters and purges, while all goes on and after the heal.

use std::time::Duration;

use iobox_core::{
    inbox::HandlerName,
    message::MessageId,
    store::{Admin, Filter, Page, Selection, State, Subscribe},
};
use tokio::time::{sleep, timeout};

use crate::{gate::GatedStore, handler, history::Lane};

/// Deals with the dead letters of a queue. Returns how many there were.
pub(crate) async fn deal_with_dead(store: &GatedStore, random: &mut fastrand::Rng) -> usize {
    let dead = Filter {
        states: vec![State::Dead],
        ..Filter::default()
    };
    let entries = store
        .list(&store.queue, &dead, Page::default())
        .await
        .expect("the page is valid");
    for entry in &entries {
        let id = MessageId::new(&entry.id).expect("ids are valid");
        let one = Selection::One(id);
        // What cannot be decoded would die again.
        let undecodable = entry
            .reason
            .as_deref()
            .is_some_and(|r| r.contains("decoded"));
        // A call that fails is made again another time, since the letter is still dead then.
        if undecodable || random.bool() {
            let _ = store.discard(&store.queue, &one, false).await;
        } else {
            let _ = store.replay(&store.queue, &one, false).await;
        }
    }
    entries.len()
}

/// What a person does now and then.
pub(crate) struct Operator {
    /// The outbox, and the store of the inbox.
    pub(crate) stores: Vec<GatedStore>,
    pub(crate) handlers: usize,
    pub(crate) random: fastrand::Rng,
    pub(crate) pace: Duration,
}

impl Operator {
    /// Does it until it is killed.
    pub(crate) async fn work(mut self) {
        loop {
            sleep(self.pace.mul_f64(0.3 + self.random.f64())).await;
            let store = self.stores[self.random.usize(0..self.stores.len())].clone();
            let life = store.life.clone();
            if !life.chaos.strikes(life.chaos.rates.operator) {
                continue;
            }
            let queue = if store.lane == Lane::Outbox {
                Ok(store)
            } else {
                let number = self.random.usize(0..self.handlers);
                let number = u8::try_from(number).expect("there are few handlers");
                let name = HandlerName::new(handler::name_of(number)).expect("names are valid");
                store.queue_of(&name).await
            };
            // The store may be down, or nobody subscribed the handler yet.
            let Ok(queue) = queue else { continue };
            let patience = self.pace;
            if self.random.f64() < 0.6 {
                life.fault("operator deals with dead letters");
                let _ = timeout(patience, deal_with_dead(&queue, &mut self.random)).await;
            } else {
                life.fault("operator purges");
                let retention = self.pace.mul_f64(self.random.f64() * 2.0);
                let purge = queue.purge(&queue.queue, retention, 1_000);
                let _ = timeout(patience, purge).await;
            }
        }
    }
}
