//! Telling: acks and refusals go to the broker, and the last is confirmed.

use std::time::Duration;

use iobox_core::Result;
use tokio::time::timeout;

use super::pulls::lost;
use crate::session::Session;

/// What the broker is told of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is stored.
    Ack,
    /// It never can be.
    Term,
    /// Somebody else should have it.
    Nak,
}

impl Verdict {
    const fn payload(self) -> &'static [u8] {
        match self {
            Self::Ack => b"+ACK",
            Self::Term => b"+TERM",
            Self::Nak => b"-NAK",
        }
    }
}

/// A verdict and where it goes.
#[derive(Debug)]
pub(super) struct Tell {
    pub(super) reply: String,
    pub(super) verdict: Verdict,
}

/// Tells the broker, and waits until it has the last: the server takes what comes over one
/// connection in order.
///
/// When the future is dropped, any part may be told.
pub(super) async fn tell(session: &Session, tells: Vec<Tell>, patience: Duration) -> Result<()> {
    let told = timeout(patience, send(session, tells)).await;
    told.unwrap_or_else(|_| Err(lost(format!("no ack was confirmed within {patience:?}"))))
}

async fn send(session: &Session, mut tells: Vec<Tell>) -> Result<()> {
    let Some(last) = tells.pop() else {
        return Ok(());
    };
    let client = session.client();
    let broken = |error| lost("the connection has ended").with_source(error);
    for one in tells {
        let payload = one.verdict.payload().into();
        client.publish(one.reply, payload).await.map_err(broken)?;
    }
    let mut call = session.open_call(1);
    client
        .publish_with_reply(last.reply, call.reply_to(0), last.verdict.payload().into())
        .await
        .map_err(broken)?;
    let mut end = session.watch_end();
    tokio::select! {
        biased;
        answer = call.answers.recv() => match answer {
            Some((_, answer)) if answer.status.is_none() => Ok(()),
            _ => Err(lost("nobody takes the ack: the consumer is gone")),
        },
        _ = end.wait_for(|ended| *ended) => Err(lost("the connection was lost before an ack was confirmed")),
    }
}
