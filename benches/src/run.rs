//! The run of a relay with default settings, from its start to its end.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use iobox::{Relay, Store, publisher::Publisher, store::Admin};
use tokio::time::timeout;

use crate::publisher::Counter;

/// The longest that a run may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Runs one relay until `done` completes. Returns how long it took, everything settled and the
/// partitions given back.
pub(crate) async fn until<S, P>(
    store: Arc<S>,
    publisher: P,
    done: impl Future<Output = ()> + Send + 'static,
) -> Result<Duration>
where
    S: Store + Admin,
    P: Publisher,
{
    let relay = Relay::builder(store, publisher).build()?;
    let start = Instant::now();
    let mut running = tokio::spawn(relay.run(done));
    let Ok(ended) = timeout(PATIENCE, &mut running).await else {
        running.abort();
        bail!("the relay did not end within {PATIENCE:?}");
    };
    ended.context("the relay panicked")??;
    Ok(start.elapsed())
}

/// How long a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until the last expected message was with the publisher.
    pub(crate) published: Duration,
    /// Until everything was settled and the partitions given back.
    pub(crate) ended: Duration,
}

/// Runs one relay until `publisher` has all that it expects.
pub(crate) async fn relay<S: Store + Admin>(
    store: Arc<S>,
    publisher: Arc<Counter>,
) -> Result<Took> {
    let watched = Arc::clone(&publisher);
    let start = Instant::now();
    let done = async move { watched.full().await };
    let ended = until(store, Arc::clone(&publisher), done).await?;
    let full_at = publisher
        .full_at()
        .context("the relay ended before everything was published")?;
    Ok(Took {
        published: full_at - start,
        ended,
    })
}
