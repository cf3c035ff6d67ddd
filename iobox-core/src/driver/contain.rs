//! Containing: runs a program's code so that it can neither panic nor hang its caller.

use std::{future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};

/// How long after its cancellation a handler counts as stuck: one that blocks its thread cannot be
/// stopped.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How a run ended.
pub(crate) enum Run<T> {
    Ended(T),
    Panicked,
    /// It was cancelled at the limit.
    TooSlow,
}

/// Runs `work` in a task of its own, for at most `limit`. Work that does not yield is waited for to its
/// end. When this future is dropped the work is cancelled.
pub(crate) async fn contained<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Run<T> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match timeout(limit, task.join_next()).await {
        Ok(Some(Ok(result))) => Run::Ended(result),
        Ok(Some(Err(_)) | None) => Run::Panicked,
        Err(_) => {
            task.abort_all();
            if timeout(STUCK_AFTER, task.join_next()).await.is_err() {
                tracing::error!(
                    "a handler goes on after its cancellation; its slot stays occupied"
                );
                metrics::counter!("iobox_stuck_handlers_total").increment(1);
                task.shutdown().await;
            }
            Run::TooSlow
        }
    }
}
