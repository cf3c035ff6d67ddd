//! The builder of a relay: every setting, its default and its bounds.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Health, Relay};
use crate::{
    Error, Result, Store,
    dispatch::{BreakerPolicy, DeadLetterPolicy, RetryPolicy, Settings},
    driver::Turn,
    message::{IdSource, RandomIds},
    observer::Observer,
    publisher::Publisher,
    queue::Queue,
    store::Admin,
};

const MIB: usize = 1024 * 1024;

/// Builds a [`Relay`]. Every setting has a default; [`build`](Self::build) checks all of them.
#[must_use = "a builder does nothing until it is built"]
pub struct RelayBuilder {
    pub(super) store: Arc<dyn Store>,
    pub(super) admin: Arc<dyn Admin>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) settings: Settings,
    pub(super) retention: Option<Duration>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    publish_timeout: Option<Duration>,
    settle_timeout: Option<Duration>,
}

impl RelayBuilder {
    pub(super) fn new<S: Store + Admin, P: Publisher>(store: S, publisher: P) -> Self {
        let store = Arc::new(store);
        let admin: Arc<dyn Admin> = Arc::<S>::clone(&store);
        let mut settings = Settings::new(Queue::Outbox);
        settings.settles = store.settles_at_once().max(1);
        Self {
            store,
            admin,
            publisher: Arc::new(publisher),
            observer: None,
            publish_timeout: None,
            settle_timeout: None,
            ids: Arc::new(RandomIds),
            settings,
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
        }
    }

    /// The most messages of one fetch, one settle and one publish. Default 1,000; 1 to 10,000.
    pub const fn batch(mut self, messages: usize) -> Self {
        self.settings.batch = messages;
        self.settings.fetch = messages;
        self
    }

    /// The most messages that are sent and not answered. Default 1,000; 1 to 100,000.
    ///
    /// A crash repeats at most `max_in_flight + batch` messages.
    pub const fn max_in_flight(mut self, messages: usize) -> Self {
        self.settings.max_in_flight = messages;
        self
    }

    /// The most bytes of messages in memory; one message more may be there. Default 32 MiB; 1 MiB
    /// to 4 GiB.
    pub const fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_buffered_bytes = bytes;
        self
    }

    /// How long this instance keeps its partitions without a sign of life: after a crash its work
    /// stands still for so long. Default 10 s; 1 s to 10 min.
    pub const fn time_to_live(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// How long one publish may take before its outcome counts as unknown. Default: two fifths
    /// of the time-to-live, so 4 s.
    ///
    /// Together with the [settle timeout](Self::settle_timeout) at most three fifths of the
    /// [time-to-live](Self::time_to_live), so that a message is recorded before its lease can end.
    pub const fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = Some(timeout);
        self
    }

    /// How long one settle may take before it is repeated. Default: one fifth of the time-to-live,
    /// so 2 s.
    pub const fn settle_timeout(mut self, timeout: Duration) -> Self {
        self.settle_timeout = Some(timeout);
        self
    }

    /// How long outcomes wait for others to be settled with, and ten times as long while another settle is
    /// under way. Default 2 ms; at most 100 ms.
    pub const fn settle_linger(mut self, linger: Duration) -> Self {
        self.settings.settle_linger = linger;
        self
    }

    /// When to run a failed message again, and when to give up.
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = policy;
        self
    }

    /// When to stop sending to a broker that does not answer.
    pub const fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.settings.breaker = policy;
        self
    }

    /// The shortest and the longest pause between two empty fetches. Default 5 ms and 1 s; 1 ms to
    /// 60 s.
    pub const fn poll(mut self, shortest: Duration, longest: Duration) -> Self {
        self.settings.poll_min = shortest;
        self.settings.poll_max = longest;
        self
    }

    /// What a dead message does to its key. Default: it halts it.
    pub const fn dead_letters(mut self, policy: DeadLetterPolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// After how many crashes of the process a message that runs alone is dead. Default 3; 1 to
    /// 100.
    pub const fn max_crashes(mut self, crashes: u32) -> Self {
        self.settings.max_crashes = crashes;
        self
    }

    /// How long messages in flight may take at a shutdown. Default 10 s; at most 10 min.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long done and discarded messages stay, or `None` to leave them to somebody else. Default
    /// 7 days; at least a minute.
    ///
    /// They are what a [replay](crate::store::Admin::replay) repairs a broker with that forgot.
    pub const fn retention(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
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

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the setting and its bound.
    pub fn build(mut self) -> Result<Relay> {
        let ttl = self.settings.ttl;
        self.settings.execute_timeout = self.publish_timeout.unwrap_or(ttl * 2 / 5);
        self.settings.settle_timeout = self.settle_timeout.unwrap_or(ttl / 5);
        let settings = &self.settings;
        within("batch", settings.batch, 1, 10_000)?;
        within("max_in_flight", settings.max_in_flight, 1, 100_000)?;
        within(
            "max_buffered_bytes",
            settings.max_buffered_bytes,
            MIB,
            4_096 * MIB,
        )?;
        let second = Duration::from_secs(1);
        let ms = Duration::from_millis(1);
        within("time_to_live", settings.ttl, second, second * 600)?;
        within(
            "publish_timeout",
            settings.execute_timeout,
            ms,
            second * 600,
        )?;
        within(
            "settle_timeout",
            settings.settle_timeout,
            ms * 10,
            second * 600,
        )?;
        within(
            "settle_linger",
            settings.settle_linger,
            Duration::ZERO,
            ms * 100,
        )?;
        within("poll shortest", settings.poll_min, ms, second * 60)?;
        within(
            "poll longest",
            settings.poll_max,
            settings.poll_min,
            second * 60,
        )?;
        within("max_crashes", settings.max_crashes, 1, 100)?;
        within("grace", settings.grace, Duration::ZERO, second * 600)?;
        let sum = settings.execute_timeout + settings.settle_timeout;
        let most = settings.ttl * 3 / 5;
        if sum > most {
            return Err(Error::invalid(format!(
                "publish_timeout + settle_timeout is {sum:?}; with a time_to_live of {:?} at most \
                 {most:?} fits: raise time_to_live or lower a timeout",
                settings.ttl
            )));
        }
        if let Some(retention) = self.retention {
            within(
                "retention",
                retention,
                second * 60,
                second * 3600 * 24 * 3650,
            )?;
        }
        let turns = watch::Sender::new(Turn::first());
        let health = Health::new(turns.subscribe(), settings.ttl);
        Ok(Relay {
            parts: self,
            turns,
            health,
        })
    }
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

impl fmt::Debug for RelayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayBuilder")
            .field("store", &self.store)
            .field("publisher", &self.publisher)
            .field("settings", &self.settings)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
