//! The batch: messages go out and their acknowledgements come in, side by side.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use iobox_core::{
    message::Message,
    publisher::{Outcomes, PublishError},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use crate::{
    acks::Call,
    config::Config,
    error::{Answer, class_of_send, judge},
    probe::Stream,
    session::Session,
    wire,
};

/// How many replies are judged at once.
const REPLIES: usize = 256;

/// A message as it goes to the driver.
struct Outgoing {
    index: usize,
    subject: String,
    reply: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// Publishes `batch` over one connection; every message has an outcome when this returns.
///
/// When the future is dropped, what was handed to the connection is sent, and nothing else; the
/// places of the batch, in `room` and among those that wait for replies, are free again.
pub(crate) async fn publish(
    session: &Session,
    stream: &Stream,
    config: &Config,
    room: &Semaphore,
    batch: &[Message],
    outcomes: &mut Outcomes,
) {
    let mut late = pin!(sleep_until(Instant::now() + config.ack_timeout));
    let answers = session.answers();
    let mut call = session.open_call(batch.len());
    let outgoing = prepare(session, stream, config, &call, batch, outcomes);
    let indices: Vec<usize> = outgoing.iter().map(|one| one.index).collect();
    let slots = Slots::of(room);
    let started = AtomicUsize::new(0);
    let mut sending = pin!(send(session.client(), outgoing, &started, &slots));
    let mut sent = false;
    let mut end = session.watch_end();
    let mut ended = pin!(end.wait_for(|ended| *ended));
    let mut waiting = indices.len();
    let mut replies = Vec::with_capacity(REPLIES);

    let reason = loop {
        if waiting == 0 {
            return;
        }
        tokio::select! {
            biased;
            failures = &mut sending, if !sent => {
                sent = true;
                for (index, error) in failures {
                    outcomes.report(index, Err(error));
                    slots.release();
                    waiting -= 1;
                }
            }
            _ = call.answers.recv_many(&mut replies, REPLIES) => {
                for (index, answer) in replies.drain(..) {
                    settle(session, stream, index, &answer, outcomes);
                    slots.release();
                    waiting = waiting.saturating_sub(1);
                }
            }
            _ = &mut ended => break String::from("the connection was lost"),
            () = &mut late => break format!("no acknowledgement within {:?}", config.ack_timeout),
        }
    };
    if session.answers() == answers {
        // Not one reply to anybody in all this time: the connection is dead, or as good as.
        session.end();
    }
    // A message whose turn had come may have left; of the others none did.
    let started = started.load(Ordering::Relaxed);
    for (position, index) in indices.into_iter().enumerate() {
        let error = if position < started {
            PublishError::Unknown(reason.clone())
        } else {
            PublishError::Unavailable(format!("{reason} before the message was sent"))
        };
        outcomes.report(index, Err(error));
    }
}

/// Makes ready what can be sent, and reports what cannot.
fn prepare(
    session: &Session,
    stream: &Stream,
    config: &Config,
    call: &Call,
    batch: &[Message],
    outcomes: &mut Outcomes,
) -> Vec<Outgoing> {
    let max_payload = session.client().max_payload();
    let mut outgoing = Vec::with_capacity(batch.len());
    for (index, message) in batch.iter().enumerate() {
        let subject = config.prefix.subject_of(message.topic());
        if !stream.takes(&subject) {
            // Another stream might take it, and acknowledge it.
            session.mark_stale();
            let reason = format!(
                "stream {} does not take subject {subject}: add it to the stream's subjects",
                config.stream
            );
            outcomes.report(index, Err(PublishError::Transient(reason)));
            continue;
        }
        match encode(message, max_payload) {
            Ok(headers) => outgoing.push(Outgoing {
                index,
                subject,
                reply: call.reply_to(index),
                headers,
                payload: message.payload().clone(),
            }),
            Err(reason) => outcomes.report(index, Err(PublishError::Permanent(reason))),
        }
    }
    outgoing
}

/// The headers of a message that the server will take, or why it never will.
fn encode(message: &Message, max_payload: usize) -> Result<HeaderMap, String> {
    let (headers, header_bytes) = wire::headers(message)?;
    let bytes = header_bytes + message.payload().len();
    if bytes > max_payload {
        return Err(format!(
            "the message has {bytes} bytes on the wire, {header_bytes} of them headers; the server \
             takes at most {max_payload}: raise its max_payload"
        ));
    }
    Ok(headers)
}

/// Hands messages to the driver, one after the other; returns those that it did not take.
async fn send(
    client: &Client,
    outgoing: Vec<Outgoing>,
    started: &AtomicUsize,
    slots: &Slots<'_>,
) -> Vec<(usize, PublishError)> {
    let mut failures = Vec::new();
    for one in outgoing {
        slots.take().await;
        started.fetch_add(1, Ordering::Relaxed);
        let sent = client
            .publish_with_reply_and_headers(one.subject, one.reply, one.headers, one.payload)
            .await;
        if let Err(error) = sent {
            let class = class_of_send(error.kind());
            failures.push((one.index, class.error(error.to_string())));
        }
    }
    failures
}

/// Reports what a reply says.
fn settle(
    session: &Session,
    stream: &Stream,
    index: usize,
    answer: &Answer,
    outcomes: &mut Outcomes,
) {
    let verdict = judge(answer, stream.name());
    if verdict.stale {
        session.mark_stale();
    }
    outcomes.report(index, verdict.outcome);
}

/// The places that a batch takes of the publisher's room; given back when it ends or is dropped.
struct Slots<'a> {
    room: &'a Semaphore,
    taken: AtomicUsize,
}

impl<'a> Slots<'a> {
    const fn of(room: &'a Semaphore) -> Self {
        Self {
            room,
            taken: AtomicUsize::new(0),
        }
    }

    /// Waits for a place.
    async fn take(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives one back.
    fn release(&self) {
        let one_less = |taken: usize| taken.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.taken.fetch_update(set, fetch, one_less).is_ok() {
            self.room.add_permits(1);
        }
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        self.room.add_permits(self.taken.load(Ordering::Relaxed));
    }
}
