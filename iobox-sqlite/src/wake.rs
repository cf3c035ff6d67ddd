//! Waking: how an idle instance sees that another connection has committed.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Result,
    queue::Queue,
    store::{Armed, WakeUp},
};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{Config, error::Failure, owner::Owner};

/// How often a sleeper looks whether somebody committed.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a sleeper sleeps at most.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Watches the file through `PRAGMA data_version`, on a connection of its own that never writes.
///
/// Every commit of another connection wakes, also one that has nothing to do with messages.
pub(crate) struct Watch {
    config: Config,
    /// Started when the first instance sleeps.
    owner: OnceLock<Owner>,
}

struct Sleep {
    owner: Owner,
    seen: i64,
    looks: Interval,
}

impl Watch {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            config,
            owner: OnceLock::new(),
        })
    }

    async fn owner(&self) -> Result<Owner> {
        if let Some(owner) = self.owner.get() {
            return Ok(owner.clone());
        }
        let config = self.config.clone();
        let started = tokio::task::spawn_blocking(move || Owner::start(&config, "watch"))
            .await
            .map_err(|source| {
                iobox_core::Error::internal("a connection could not be opened").with_source(source)
            })??;
        // Of two that start at the same time one stays; the other ends when it is dropped.
        Ok(self.owner.get_or_init(|| started).clone())
    }
}

#[async_trait]
impl WakeUp for Watch {
    async fn arm(&self, _: &Queue) -> Result<Box<dyn Armed>> {
        let owner = self.owner().await?;
        let seen = version(&owner).await?;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Box::new(Sleep { owner, seen, looks }))
    }
}

#[async_trait]
impl Armed for Sleep {
    fn at_most(&self) -> Duration {
        SLEEP_MAX
    }

    async fn wait(&mut self) {
        loop {
            self.looks.tick().await;
            // An error means that nothing is known any more: the caller has to look for itself.
            if version(&self.owner).await.ok() != Some(self.seen) {
                return;
            }
        }
    }

    async fn disarm(self: Box<Self>) {}
}

/// The number that changes whenever another connection commits.
async fn version(owner: &Owner) -> Result<i64> {
    let asked = owner.call(|conn| -> Result<i64, Failure> {
        Ok(conn
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?)
    });
    Ok(asked.await?)
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
