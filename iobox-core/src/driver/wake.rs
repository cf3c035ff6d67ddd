//! The wake-up loop: lets the database wake an idle instance.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{sleep_until, timeout},
};

use super::clock;
use crate::{queue::Queue, store::WakeUp};

/// How long an instance that was woken polls before it announces its next sleep, so that one idle
/// instance among busy ones does not make every commit notify.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// The pause after a wake-up that could not be armed.
const RETRY: Duration = Duration::from_secs(1);

/// Arms the wake-up whenever the machine is idle, and says "look now" when it fires.
pub(super) async fn watch_database(
    wake_up: Arc<dyn WakeUp>,
    queue: Queue,
    mut idle: watch::Receiver<bool>,
    wakes: mpsc::Sender<()>,
) {
    loop {
        if idle.wait_for(|idle| *idle).await.is_err() {
            return;
        }
        let mut pause = POLL_FIRST;
        match wake_up.arm(&queue).await {
            Ok(mut armed) => {
                // What was committed before the announcement wakes nobody: look once more.
                let _ = wakes.try_send(());
                let _ = timeout(armed.at_most(), armed.wait()).await;
                armed.disarm().await;
                let _ = wakes.try_send(());
            }
            Err(error) => {
                tracing::warn!(%error, "the database cannot wake this instance; it polls");
                pause = RETRY;
            }
        }
        sleep_until(clock() + pause).await;
    }
}
