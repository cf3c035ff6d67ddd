//! The builder of an inbox: every setting, its default and its bounds.

use std::{fmt, sync::Arc, time::Duration};

use super::{Inbox, Router, feed::Feed, router::Checked, whole::Parts};
use crate::{
    Error, Result,
    dispatch::Settings,
    message::{IdSource, RandomIds},
    observer::Observer,
    queue::Queue,
    source::Source,
    store::{Ingest, Receive},
};

const MIB: usize = 1024 * 1024;
/// The most sources of an inbox.
const SOURCES_MAX: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Builds an [`Inbox`]. Every setting has a default; [`build`](Self::build) checks all of them.
#[must_use = "a builder does nothing until it is built"]
pub struct InboxBuilder<S> {
    store: S,
    router: Router<S>,
    feeds: Vec<Feed<S>>,
    settings: Settings,
    max_backlog: u32,
    retention: Duration,
    horizon: Duration,
    unrouted: Duration,
    ids: Arc<dyn IdSource>,
    observer: Option<Arc<dyn Observer>>,
}

impl<S: Receive> InboxBuilder<S> {
    pub(super) fn new(store: S, router: Router<S>) -> Self {
        let mut settings = Settings::new(Queue::Outbox);
        settings.settles = store.settles_at_once().max(1);
        Self {
            store,
            router,
            feeds: Vec::new(),
            settings,
            max_backlog: 100_000,
            retention: DAY * 7,
            horizon: DAY * 7,
            unrouted: DAY * 30,
            ids: Arc::new(RandomIds),
            observer: None,
        }
    }

    /// How long this instance keeps its partitions without a sign of life: after a crash its work
    /// stands still for so long. Default 10 s; 1 s to 10 min. A handler may run for longer.
    pub const fn time_to_live(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// The most bytes of messages in memory for each handler; one message more may be there. Default
    /// 32 MiB; 1 MiB to 4 GiB.
    pub const fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_buffered_bytes = bytes;
        self
    }

    /// The shortest and the longest pause between two empty fetches of a handler's queue. Default
    /// 5 ms and 1 s; 1 ms to 60 s.
    pub const fn poll(mut self, shortest: Duration, longest: Duration) -> Self {
        self.settings.poll_min = shortest;
        self.settings.poll_max = longest;
        self
    }

    /// After how many crashes of the process a message that runs alone is dead. Default 3; 1 to
    /// 100.
    pub const fn max_crashes(mut self, crashes: u32) -> Self {
        self.settings.max_crashes = crashes;
        self
    }

    /// The most rows that a handler of this program may have ready before nothing more is read from
    /// the sources. What waits behind something of its key does not count. Default 100,000; 1,000 to
    /// 10,000,000.
    pub const fn max_backlog(mut self, rows: u32) -> Self {
        self.max_backlog = rows;
        self
    }

    /// How long handlers under way may take at a shutdown. Default 10 s; at most 10 min.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long handled and discarded rows stay, counted from their settling. Default 7 days; at
    /// least the redelivery horizon.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// For how long after its reception a message may still arrive again and must be known. Default
    /// 7 days; a minute to ten years. What arrives later than that may be stored and handled again.
    pub const fn redelivery_horizon(mut self, horizon: Duration) -> Self {
        self.horizon = horizon;
        self
    }

    /// How long messages stay that nobody is subscribed to. Default 30 days; at least the redelivery
    /// horizon.
    pub const fn unrouted_retention(mut self, retention: Duration) -> Self {
        self.unrouted = retention;
        self
    }

    /// Who is told of messages that failed, once that is stored. Default: nobody.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Where ids of instances and the seed of the jitter come from. Default: the operating system.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// Plants a protocol bug.
    #[cfg(iobox_bugs)]
    pub fn plant(mut self, bug: crate::dispatch::Bug) -> Self {
        self.settings.plant(bug);
        self
    }

    /// Checks every setting, the names and the patterns.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the setting and its bound.
    pub fn build(mut self) -> Result<Inbox<S>> {
        self.settings.settle_timeout = self.settings.ttl / 5;
        let settings = &self.settings;
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis(1));
        within("time_to_live", settings.ttl, second, second * 600)?;
        let bytes = settings.max_buffered_bytes;
        within("max_buffered_bytes", bytes, MIB, 4_096 * MIB)?;
        within("poll shortest", settings.poll_min, ms, second * 60)?;
        let (least, most) = (settings.poll_min, second * 60);
        within("poll longest", settings.poll_max, least, most)?;
        within("max_crashes", settings.max_crashes, 1, 100)?;
        within("grace", settings.grace, Duration::ZERO, second * 600)?;
        let years = DAY * 3_650;
        within("redelivery_horizon", self.horizon, second * 60, years)?;
        within("retention", self.retention, self.horizon, years)?;
        within("unrouted_retention", self.unrouted, self.horizon, years)?;
        within("max_backlog", self.max_backlog, 1_000, 10_000_000)?;
        check_sources(&self.feeds)?;
        let Checked {
            handlers,
            subscriptions,
        } = self.router.check()?;
        Ok(Inbox::from_parts(Parts {
            store: self.store,
            feeds: self.feeds,
            max_backlog: self.max_backlog,
            handlers,
            subscriptions,
            settings: self.settings,
            retention: self.retention,
            horizon: self.horizon,
            unrouted: self.unrouted,
            ids: self.ids,
            observer: self.observer,
        }))
    }
}

impl<S: Ingest> InboxBuilder<S> {
    /// Reads `source` while the inbox runs; at most 64. Its name is that of its messages for ever.
    pub fn source(mut self, source: impl Source) -> Self {
        self.feeds.push(Feed::new(source));
        self
    }
}

/// Refuses too many sources, and two of one name.
fn check_sources<S>(feeds: &[Feed<S>]) -> Result<()> {
    if feeds.len() > SOURCES_MAX {
        return Err(Error::invalid(format!(
            "the inbox has {} sources; at most {SOURCES_MAX} are allowed",
            feeds.len()
        )));
    }
    let mut names: Vec<_> = feeds.iter().map(|feed| feed.source.name()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
        return Err(Error::invalid(format!(
            "two sources have the name {name}; messages are known by it, so it must be unique"
        )));
    }
    Ok(())
}

/// Refuses a value outside of its bounds.
fn within<T: PartialOrd + Copy + fmt::Debug>(
    name: &str,
    value: T,
    least: T,
    most: T,
) -> Result<()> {
    if value < least || value > most {
        return Err(Error::invalid(format!(
            "{name} is {value:?}; it needs {least:?} to {most:?}"
        )));
    }
    Ok(())
}

impl<S: fmt::Debug> fmt::Debug for InboxBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxBuilder")
            .field("store", &self.store)
            .field("router", &self.router)
            .field("sources", &self.feeds)
            .field("settings", &self.settings)
            .field("retention", &self.retention)
            .field("redelivery_horizon", &self.horizon)
            .finish_non_exhaustive()
    }
}
