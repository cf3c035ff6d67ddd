//! A call through the gate.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, pending},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use iobox_core::{
    Error, ErrorKind, Result,
    memory::MemoryStore,
    queue::Queue,
    store::{Admin, Filter, Page, Seq},
};
use tokio::{sync::oneshot, time::sleep};

use crate::{
    history::{History, Id, Lane},
    life::Life,
    point::Point,
};

/// A run of a handler was given up before its transaction was open.
pub(crate) const UNBEGUN: &str = "handler given up before it began";

/// Ids by their lanes and seqs, as far as anybody saw them.
pub(crate) type Names = Arc<Mutex<BTreeMap<(Lane, Seq), Id>>>;

/// The store as one process sees it.
#[derive(Clone)]
pub(crate) struct GatedStore {
    pub(crate) inner: MemoryStore,
    pub(crate) queue: Queue,
    pub(crate) life: Life,
    /// Where what happens to this queue is noted.
    pub(crate) history: History,
    pub(crate) lane: Lane,
    pub(crate) names: Names,
}

/// The places of a call at which its caller may die.
#[derive(Default)]
pub(super) struct Places {
    pub(super) before: Vec<Point>,
    pub(super) after: Vec<Point>,
}

impl Places {
    pub(super) fn before(points: impl Into<Vec<Point>>) -> Self {
        let (before, after) = (points.into(), Vec::new());
        Self { before, after }
    }

    pub(super) fn after(mut self, points: impl Into<Vec<Point>>) -> Self {
        self.after = points.into();
        self
    }
}

impl GatedStore {
    /// The store of another queue, for the same process.
    pub(crate) fn another(&self, inner: MemoryStore, queue: Queue, lane: Lane) -> Self {
        Self {
            inner,
            queue,
            lane,
            history: self.history.of(lane),
            ..self.clone()
        }
    }

    /// Makes a call: `effect` is what the store does, in one step, and notes.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        places: Places,
        effect: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let chaos = &self.life.chaos;
        self.before().await?;
        for point in places.before {
            self.life.point(point).await;
        }
        let result = if chaos.strikes(chaos.rates.late_call) {
            self.life.fault("a call takes effect late");
            let (done, result) = oneshot::channel();
            let delay = chaos.delay(chaos.longest.mul_f64(1.5));
            chaos.later(delay, async move {
                // Whoever wanted it may have given up by now.
                let _ = done.send(effect.await);
            });
            match result.await {
                Ok(result) => result,
                // The run is over.
                Err(_) => pending().await,
            }
        } else {
            effect.await
        };
        for point in places.after {
            self.life.point(point).await;
        }
        self.after().await?;
        result
    }

    /// Before the call reaches the store.
    pub(super) async fn before(&self) -> Result<()> {
        let (life, chaos) = (&self.life, &self.life.chaos);
        life.passed().await;
        sleep(Duration::from_micros(200)).await;
        if chaos.strikes(chaos.rates.delay) {
            life.fault("store delay before");
            sleep(chaos.delay(Duration::from_millis(60))).await;
        }
        if chaos.strikes(chaos.rates.hang) {
            life.fault("store hang before");
            sleep(chaos.delay(chaos.longest)).await;
        }
        if chaos.store_down.load(Ordering::Relaxed) {
            life.fault("store down");
            return Err(Error::unavailable("simulated: the store is down"));
        }
        if chaos.strikes(chaos.rates.fail_before) {
            life.fault("store fails before");
            return Err(Error::unavailable("simulated: failed before"));
        }
        if chaos.strikes(chaos.rates.conflict) {
            life.fault("store conflict");
            return Err(Error::new(ErrorKind::Conflict, "simulated: a conflict"));
        }
        life.passed().await;
        Ok(())
    }

    /// After the store did it, before the caller knows.
    pub(super) async fn after(&self) -> Result<()> {
        let (life, chaos) = (&self.life, &self.life.chaos);
        sleep(Duration::from_micros(200)).await;
        if chaos.strikes(chaos.rates.delay) {
            life.fault("store delay after");
            sleep(chaos.delay(Duration::from_millis(60))).await;
        }
        if chaos.strikes(chaos.rates.hang) {
            life.fault("store hang after");
            sleep(chaos.delay(chaos.longest)).await;
        }
        life.passed().await;
        if chaos.strikes(chaos.rates.fail_after) {
            life.fault("store reply lost");
            return Err(Error::unavailable("simulated: reply lost"));
        }
        Ok(())
    }

    /// Notes the id of a row.
    pub(super) fn name(&self, seq: Seq, id: &str) {
        let mut names = self.names.lock().expect("no panic holds the lock");
        names
            .entry((self.lane, seq))
            .or_insert_with(|| id.to_owned());
    }

    /// The id of a row.
    pub(super) async fn id_of(&self, seq: Seq) -> Option<Id> {
        let known = {
            let names = self.names.lock().expect("no panic holds the lock");
            names.get(&(self.lane, seq)).cloned()
        };
        if known.is_some() {
            return known;
        }
        let (filter, after) = (Filter::default(), Some(Seq(seq.0 - 1)));
        let page = Page { after, limit: 1 };
        let entries = self.inner.list(&self.queue, &filter, page).await.ok()?;
        let entry = entries.into_iter().next()?;
        (entry.seq == seq).then_some(entry.id)
    }
}

impl fmt::Debug for GatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedStore")
            .field("queue", &self.queue)
            .field("process", &self.life.process)
            .finish_non_exhaustive()
    }
}
