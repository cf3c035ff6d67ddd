//! The run of a relay with default settings, from its start to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use iobox::{Relay, Store, store::Admin};
use tokio::time::timeout;

use crate::publisher::Counter;

/// The longest that a run may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

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
    let relay = Relay::builder(store, Arc::clone(&publisher)).build()?;
    let watched = Arc::clone(&publisher);
    let start = Instant::now();
    let mut running = tokio::spawn(relay.run(async move { watched.full().await }));
    let Ok(ended) = timeout(PATIENCE, &mut running).await else {
        running.abort();
        bail!("the relay did not end within {PATIENCE:?}");
    };
    ended.context("the relay panicked")??;
    let ended = start.elapsed();
    let full_at = publisher
        .full_at()
        .context("the relay ended before everything was published")?;
    Ok(Took {
        published: full_at - start,
        ended,
    })
}
