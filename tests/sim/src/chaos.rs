//! Chaos: what every gate of a run shares, and draws its faults from.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use crate::{point::Point, rates::Rates};

/// The source of all faults of a run.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) random: Mutex<fastrand::Rng>,
    pub(crate) rates: Rates,
    /// The crash point that this run prefers, and how likely it is.
    pub(crate) favourite: (Point, f64),
    pub(crate) healed: AtomicBool,
    pub(crate) store_down: AtomicBool,
    pub(crate) broker_down: AtomicBool,
    /// The longest fault delay.
    pub(crate) longest: Duration,
    /// What goes on although nobody waits for it: calls and copies on the way.
    pub(crate) wire: Mutex<JoinSet<()>>,
    /// How many faults struck so far, and which of them are let through; `None` lets all.
    pub(crate) struck: AtomicU32,
    pub(crate) only: Option<Arc<BTreeSet<u32>>>,
}

impl Chaos {
    /// Whether something with this probability happens; never after the heal.
    pub(crate) fn strikes(&self, probability: f64) -> bool {
        let draw = self.random.lock().expect("no panic holds the lock").f64();
        if self.healed.load(Ordering::Relaxed) || draw >= probability {
            return false;
        }
        let number = self.struck.fetch_add(1, Ordering::Relaxed);
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    /// Whether a process dies here.
    pub(crate) fn kills_at(&self, point: Point) -> bool {
        let (favourite, rate) = self.favourite;
        self.strikes(if point == favourite {
            rate
        } else {
            self.rates.points
        })
    }

    /// A delay of at most `most`.
    pub(crate) fn delay(&self, most: Duration) -> Duration {
        let draw = self.random.lock().expect("no panic holds the lock").f64();
        most.mul_f64(draw)
    }

    pub(crate) fn healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// Does something some time later, whatever becomes of whoever wanted it.
    pub(crate) fn later(&self, delay: Duration, what: impl Future<Output = ()> + Send + 'static) {
        let mut wire = self.wire.lock().expect("no panic holds the lock");
        wire.spawn(async move {
            sleep(delay).await;
            what.await;
        });
    }

    /// Waits until nothing is on the way any more.
    pub(crate) async fn settle_down(&self) {
        loop {
            {
                let mut wire = self.wire.lock().expect("no panic holds the lock");
                while wire.try_join_next().is_some() {}
                if wire.is_empty() {
                    return;
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
