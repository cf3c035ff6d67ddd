//! The plan: what goes wrong, and when.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use iobox_core::{Error, Result, publisher::Publisher, source::Source};
use tokio::{sync::watch, time::sleep};

use super::{CrashPoint, FaultyPublisher, FaultySource, FaultyStore};

/// How many faults chance makes unless a test says more.
const AT_MOST: u32 = 1_000;

/// The longest script.
const SCRIPT_MAX: usize = 10_000;

/// What goes wrong with one call, one message, or one batch that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails before anything happened.
    Before,
    /// It happens, and the reply is lost.
    After,
    /// It happens after a while.
    Delay(Duration),
    /// It happens twice.
    Twice,
    /// Several that belong to different keys happen in another order.
    Reorder,
}

/// How often each fault was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Calls and messages that failed before anything happened.
    pub before: u32,
    /// Those whose reply was lost.
    pub after: u32,
    /// Those that were delayed.
    pub delayed: u32,
    /// Those that happened twice.
    pub twice: u32,
    /// Those that were reordered.
    pub reordered: u32,
    /// Those that met a line that was cut.
    pub cut: u32,
    /// Processes that died.
    pub crashes: u32,
}

/// What a test holds to make things go wrong. Clones are the same handle.
#[derive(Clone)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    line: watch::Sender<Line>,
}

struct Plan {
    rng: Rng,
    left: u32,
    chances: Vec<(f64, Fault)>,
    script: VecDeque<Option<Fault>>,
    crash_at: Option<CrashPoint>,
    counts: Counts,
}

/// The line to the other side, and who is alive at this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    cut: bool,
    /// The number of the process that lives, or would.
    process: u64,
    dead: bool,
}

impl Faults {
    /// Nothing goes wrong until the test says so.
    #[must_use]
    pub fn none() -> Self {
        Self::seeded(0)
    }

    /// Faults by chance, the same for the same seed and the same calls; without any chances yet.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            plan: Arc::new(Mutex::new(Plan {
                rng: Rng::with_seed(seed),
                left: AT_MOST,
                chances: Vec::new(),
                script: VecDeque::new(),
                crash_at: None,
                counts: Counts::default(),
            })),
            line: watch::Sender::new(Line {
                cut: false,
                process: 0,
                dead: false,
            }),
        }
    }

    fn chance(self, chance: f64, fault: Fault) -> Self {
        self.plan().chances.push((chance, fault));
        self
    }

    /// Adds a chance, 0 to 1, that a call or message fails before anything happened.
    #[must_use]
    pub fn before(self, chance: f64) -> Self {
        self.chance(chance, Fault::Before)
    }

    /// Adds a chance that one happens and its reply is lost.
    #[must_use]
    pub fn after(self, chance: f64) -> Self {
        self.chance(chance, Fault::After)
    }

    /// Adds a chance that one is delayed, by at most `at_most`.
    #[must_use]
    pub fn delay(self, chance: f64, at_most: Duration) -> Self {
        self.chance(chance, Fault::Delay(at_most))
    }

    /// Adds a chance that one happens twice.
    #[must_use]
    pub fn twice(self, chance: f64) -> Self {
        self.chance(chance, Fault::Twice)
    }

    /// Adds a chance that what belongs to different keys is reordered.
    #[must_use]
    pub fn reorder(self, chance: f64) -> Self {
        self.chance(chance, Fault::Reorder)
    }

    /// Bounds how many faults chance makes in all; 1,000 by default.
    #[must_use]
    pub fn at_most(self, count: u32) -> Self {
        self.plan().left = count;
        self
    }

    /// Says what the next call or message meets that has no script yet: a fault, or none. What the
    /// script does not say is left to chance.
    ///
    /// # Panics
    /// When the script is longer than 10,000 steps.
    pub fn then(&self, fault: impl Into<Option<Fault>>) {
        let mut plan = self.plan();
        assert!(plan.script.len() < SCRIPT_MAX, "the script is too long");
        plan.script.push_back(fault.into());
    }

    /// Cuts the line: calls under way lose their reply, and later ones fail before anything happens,
    /// until it is mended.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cut = true);
    }

    /// Mends the line.
    pub fn mend(&self) {
        self.line.send_modify(|line| line.cut = false);
    }

    /// Lets the process that is behind the wrappers die when it next reaches `point`.
    pub fn crash_at(&self, point: CrashPoint) {
        self.plan().crash_at = Some(point);
    }

    /// Waits until the process has died. Safe to drop.
    pub async fn crashed(&self) {
        let mut line = self.line.subscribe();
        // The sender lives as long as self.
        let _ = line.wait_for(|line| line.dead).await;
    }

    /// Begins the next process: wrappers that are made from now on live. What was made before stays
    /// dead, whether it had died or not.
    pub fn restart(&self) {
        self.plan().crash_at = None;
        self.line.send_modify(|line| {
            line.process += 1;
            line.dead = false;
        });
    }

    /// Tells that the application has reached a point that no wrapper sees. Never returns if the process
    /// dies there.
    pub async fn reach(&self, point: CrashPoint) {
        self.life().reach(point).await;
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.plan().counts
    }

    /// A store that fails so.
    pub fn store<S>(&self, store: S) -> FaultyStore<S> {
        FaultyStore::new(store, self.life())
    }

    /// A publisher that fails so.
    pub fn publisher<P: Publisher>(&self, publisher: P) -> FaultyPublisher<P> {
        FaultyPublisher::new(publisher, self.life())
    }

    /// A source that fails so.
    pub fn source<S: Source>(&self, source: S) -> FaultySource<S> {
        FaultySource::new(source, self.life())
    }

    pub(super) fn life(&self) -> Life {
        let process = self.line.borrow().process;
        Life {
            faults: self.clone(),
            process,
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("counts", &self.counts())
            .field("line", &*self.line.borrow())
            .finish_non_exhaustive()
    }
}

/// One process, as the wrappers that belong to it know it.
#[derive(Debug, Clone)]
pub(super) struct Life {
    faults: Faults,
    process: u64,
}

impl Life {
    /// Stops for ever if the process is dead.
    pub(super) async fn go_on(&self) {
        let line = *self.faults.line.borrow();
        if line.dead || line.process != self.process {
            pending::<()>().await;
        }
    }

    /// Whether the process dies at `point`.
    pub(super) fn dies_at(&self, point: CrashPoint) -> bool {
        let line = *self.faults.line.borrow();
        !line.dead && line.process == self.process && self.faults.plan().crash_at == Some(point)
    }

    /// Goes past `point`, or dies there.
    pub(super) async fn reach(&self, point: CrashPoint) {
        if self.dies_at(point) {
            let mut plan = self.faults.plan();
            plan.crash_at = None;
            plan.counts.crashes += 1;
            drop(plan);
            self.faults.line.send_modify(|line| line.dead = true);
        }
        self.go_on().await;
    }

    /// What the next call or message meets.
    pub(super) fn draw(&self) -> Option<Fault> {
        let mut plan = self.faults.plan();
        let fault = match plan.script.pop_front() {
            Some(scripted) => scripted,
            None => plan.chance(),
        }?;
        let counts = &mut plan.counts;
        let count = match fault {
            Fault::Before => &mut counts.before,
            Fault::After => &mut counts.after,
            Fault::Delay(_) => &mut counts.delayed,
            Fault::Twice => &mut counts.twice,
            Fault::Reorder => &mut counts.reordered,
        };
        *count += 1;
        Some(fault)
    }

    /// Whether the line is cut; counts those who ask.
    pub(super) fn is_cut(&self) -> bool {
        let cut = self.faults.line.borrow().cut;
        self.faults.plan().counts.cut += u32::from(cut);
        cut
    }

    /// Waits until the line is cut.
    pub(super) async fn cut(&self) {
        let mut line = self.faults.line.subscribe();
        let _ = line.wait_for(|line| line.cut).await;
        self.faults.plan().counts.cut += 1;
    }

    /// Makes a call that may be repeated: `make` makes it, and what goes wrong goes wrong.
    pub(super) async fn call<T, F: Future<Output = Result<T>> + Send>(
        &self,
        make: impl Fn() -> F + Send,
    ) -> Result<T> {
        self.go_on().await;
        if self.is_cut() {
            return Err(lost("the line is cut: the call was not sent"));
        }
        let fault = self.draw();
        match fault {
            Some(Fault::Before) => return Err(lost("the call was not sent")),
            Some(Fault::Delay(by)) => sleep(by).await,
            _ => {}
        }
        let whole = async {
            if fault == Some(Fault::Twice) {
                // Whoever called sees the answer to the second arrival.
                let _first = make().await;
            }
            make().await
        };
        let result = tokio::select! {
            biased;
            result = whole => result,
            () = self.cut() => Err(lost("the line was cut: the reply of the call is lost")),
        };
        self.go_on().await;
        match fault {
            Some(Fault::After) => Err(lost("the reply of the call is lost")),
            _ => result,
        }
    }

    /// Makes a call inside of somebody's transaction, which fails before it happens or not at all.
    pub(super) async fn statement<T>(
        &self,
        make: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.go_on().await;
        if self.is_cut() {
            return Err(lost("the line is cut: the statement was not sent"));
        }
        match self.draw() {
            Some(Fault::Before | Fault::After) => return Err(lost("the statement was not sent")),
            Some(Fault::Delay(by)) => sleep(by).await,
            _ => {}
        }
        let result = make.await;
        self.go_on().await;
        result
    }
}

impl Plan {
    fn chance(&mut self) -> Option<Fault> {
        let drawn = self.chances.clone().into_iter();
        let mut drawn = drawn.filter(|(chance, _)| self.rng.f64() < *chance);
        let (_, fault) = drawn.next()?;
        self.left = self.left.checked_sub(1)?;
        Some(match fault {
            Fault::Delay(at_most) => Fault::Delay(at_most.mul_f64(self.rng.f64())),
            other => other,
        })
    }
}

pub(super) fn lost(what: &'static str) -> Error {
    Error::unavailable(what)
}
