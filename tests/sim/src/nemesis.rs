//! The nemesis: what happens to processes, stores and the broker as a whole, until the heal.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use crate::{history::Event, process::Slot, world::World};

impl World {
    /// The phase of faults.
    pub(crate) async fn safety(&mut self) {
        self.begin(Slot::Operator);
        let end = self.start + self.plan.safety;
        let slots = self.slots();
        while Instant::now() < end {
            let step = self.plan.ttl.mul_f64(0.2 + self.random.f64());
            if let Some(process) = self.next_death(step).await {
                self.crash_process(process).await;
                continue;
            }
            let slot = slots[self.random.usize(0..slots.len())];
            self.strike(slot).await;
            let old = slots.iter().find(|slot| self.is_old(**slot)).copied();
            if let Some(slot) = old.filter(|_| self.random.bool()) {
                // A rolling deploy.
                self.drain(slot).await;
                self.begin(slot);
            }
        }
    }

    async fn strike(&mut self, slot: Slot) {
        let rates = self.plan.rates.clone();
        if self.chaos.strikes(rates.crash) {
            self.crash(slot).await;
            self.begin(slot);
        } else if self.chaos.strikes(rates.drain) {
            self.drain(slot).await;
            self.begin(slot);
        } else if self.chaos.strikes(rates.pause) {
            self.pause(slot);
        }
        let down = self.chaos.strikes(rates.broker_down);
        if down {
            self.fault("broker goes down");
        }
        self.chaos.broker_down.store(down, Ordering::Relaxed);
        let down = self.chaos.strikes(rates.store_down);
        if down {
            self.fault("store goes down");
        }
        self.chaos.store_down.store(down, Ordering::Relaxed);
        if self.chaos.strikes(rates.clock_jumps) {
            self.fault("the store's clock jumps");
            let store = if self.random.bool() {
                &self.outbox
            } else {
                &self.inbox
            };
            let by = Duration::from_secs(3_600).mul_f64(self.random.f64());
            store.clock().advance(by);
        }
        if self.chaos.strikes(rates.broker_forgets) {
            self.fault("the broker forgets ids");
            self.broker.forget_ids();
        }
    }

    fn fault(&self, what: &'static str) {
        self.history.add(Event::Fault { what });
    }

    /// Ends the faults. From here on every program has every handler, and ids of its own.
    pub(crate) async fn heal(&mut self) {
        self.chaos.healed.store(true, Ordering::Relaxed);
        self.chaos.broker_down.store(false, Ordering::Relaxed);
        self.chaos.store_down.store(false, Ordering::Relaxed);
        self.resume_all();
        self.history.add(Event::Healed);
        self.crash(Slot::Operator).await;
        for slot in self.slots() {
            if self.is_old(slot) || self.is_twin(slot) {
                self.drain(slot).await;
                self.begin(slot);
            }
        }
    }
}
