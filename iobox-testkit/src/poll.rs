//! Dropping a future at one of its polls.

use std::{future::poll_fn, pin::pin, task::Poll};

/// Polls `future` at most `n` times, whenever it asks for it, and drops it at its last poll if it is not
/// over by then. Returns what it resolved to, if it did.
///
/// With every `n` from 0 on a test meets each moment at which a caller's timeout, its `select!` or its
/// shutdown can drop the future: it can be dropped nowhere else than where it waits.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use iobox_testkit::poll_n_then_drop;
/// use tokio::task::yield_now;
///
/// let twice = || async {
///     yield_now().await;
///     yield_now().await;
///     "done"
/// };
/// assert_eq!(poll_n_then_drop(twice(), 2).await, None);
/// assert_eq!(poll_n_then_drop(twice(), 3).await, Some("done"));
/// # });
/// ```
pub async fn poll_n_then_drop<F: Future>(future: F, n: usize) -> Option<F::Output> {
    if n == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls >= n => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
