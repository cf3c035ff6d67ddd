//! The certification: a whole suite as one call, which says what became of each case.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use iobox_core::store::{Ingest, Transact};

use crate::{broker, sheet::Sheet, source, suite};

/// How many cases run at the same time.
const AT_ONCE: usize = 4;

/// A case of a suite, for a harness.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    pub(crate) noun: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn(Duration),
}

/// Runs a suite outside of the test harness of cargo.
///
/// A crate that certifies its adapter calls one of the macros, [`store_suite!`](crate::store_suite)
/// for example, which makes a test of each case. This is for whoever wants the
/// [sheet](crate::sheet::Sheet) as a value: to publish it, or to prove that the suite sees a mistake.
///
/// ```
/// # use std::sync::Arc;
/// # use iobox_core::{Result, memory::MemoryBroker, message::{Limits, Topic}, publisher::Durability};
/// # use iobox_testkit::broker::{Harness, Stored};
/// # struct Memory(Arc<MemoryBroker>);
/// # #[async_trait::async_trait]
/// # impl Harness for Memory {
/// #     type Publisher = MemoryBroker;
/// #     const DURABILITY: Durability = Durability::Replicated;
/// #     const ABSORBS_DUPLICATES: bool = true;
/// #     const KEEPS_HEADER_ORDER: bool = true;
/// #     const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
/// #     const PAYLOAD_REFUSED: Option<usize> = None;
/// #     const REFUSES_TOPICS: bool = false;
/// #     const CAN_BE_CUT: bool = false;
/// #     async fn fresh() -> Self { Self(Arc::new(MemoryBroker::new())) }
/// #     fn publisher(&self) -> &Arc<MemoryBroker> { &self.0 }
/// #     async fn another(&self) -> Result<Arc<MemoryBroker>> { Ok(Arc::clone(&self.0)) }
/// #     async fn stored(&self) -> Vec<Stored> {
/// #         self.0.read(0, usize::MAX).iter().map(|one| Stored::of(&one.message)).collect()
/// #     }
/// #     async fn refuse(&self, _: &Topic) {}
/// #     async fn mute(&self) {}
/// #     async fn cut(&self) {}
/// #     async fn mend(&self) {}
/// # }
/// use iobox_testkit::Certification;
///
/// // This harness claims that a broker in memory is replicated.
/// let sheet = Certification::of_publisher::<Memory>().only("probe").run();
/// assert!(sheet.failed().contains(&String::from("probe::a_probe_tells_the_durability")));
/// assert!(!sheet.failed().contains(&String::from("probe::a_probe_writes_nothing")));
/// ```
#[must_use = "a certification does nothing until it is run"]
pub struct Certification {
    sheet: Sheet,
    checks: Vec<Check>,
    patience: Duration,
}

impl Certification {
    fn new(sheet: Sheet, checks: Vec<Check>) -> Self {
        Self {
            sheet,
            checks,
            patience: suite::STUCK_AFTER,
        }
    }

    /// The suite of stores.
    pub fn of_store<H: suite::Harness>() -> Self {
        Self::new(suite::sheet::<H>(), suite::checks::<H>())
    }

    /// The suite of the inbox half of a store.
    pub fn of_inbox<H: suite::Harness<Store: Transact + Ingest>>() -> Self {
        Self::new(suite::inbox::sheet::<H>(), suite::inbox::checks::<H>())
    }

    /// The suite of publishers.
    pub fn of_publisher<H: broker::Harness>() -> Self {
        Self::new(broker::sheet::<H>(), broker::checks::<H>())
    }

    /// The suite of sources.
    pub fn of_source<H: source::Harness>() -> Self {
        Self::new(source::sheet::<H>(), source::checks::<H>())
    }

    /// Runs only the cases of one file, or the one case of this name.
    pub fn only(mut self, noun_or_name: &str) -> Self {
        self.checks
            .retain(|check| check.noun == noun_or_name || check.name == noun_or_name);
        self
    }

    /// Sets after how long a case counts as stuck, and so as failed. By default five minutes; an adapter
    /// that is known to be broken needs less.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs the cases, a few at a time, each on a runtime of its own.
    ///
    /// A case that fails panics on its thread, and prints why as a test does.
    ///
    /// # Panics
    /// When called from within a tokio runtime.
    #[must_use]
    pub fn run(self) -> Sheet {
        let Self {
            mut sheet,
            checks,
            patience,
        } = self;
        let (rest, ended) = (Mutex::new(checks.into_iter()), Mutex::new(Vec::new()));
        let lock = PoisonError::into_inner;
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let next = rest.lock().unwrap_or_else(lock).next();
                        let Some(check) = next else { return };
                        let passed = catch_unwind(AssertUnwindSafe(|| (check.run)(patience)));
                        let passed = passed.is_ok();
                        let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                        ended.push((check, passed));
                    }
                });
            }
        });
        for (check, passed) in ended.into_inner().unwrap_or_else(PoisonError::into_inner) {
            sheet.add(check.noun, check.name, passed);
        }
        sheet.sort();
        sheet
    }
}

impl std::fmt::Debug for Certification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certification")
            .field("adapter", &self.sheet.adapter)
            .field("suite", &self.sheet.suite)
            .field("cases", &self.checks.len())
            .finish_non_exhaustive()
    }
}
