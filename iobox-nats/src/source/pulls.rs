//! Pulls: at most one request for entries at a time, and what comes of it.

use std::{borrow::Cow, fmt, time::Duration};

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt as _;
use iobox_core::{Error, Result, source::Room};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::unconstrained,
    time::{Instant, sleep_until},
};

use super::arrival::Arrival;
use crate::session::Session;

/// The most entries of one request.
pub(super) const BATCH_MAX: usize = 4_096;
/// A consumer, or a server, that went away.
const CONFLICT: u16 = 409;
/// The request is over.
const OVER: [u16; 2] = [404, 408];
/// The server is there, and has nothing.
const HEARTBEAT: u16 = 100;

#[derive(Serialize)]
struct Request {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    /// In nanoseconds.
    expires: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
}

/// A request whose entries are not all here.
#[derive(Debug)]
struct Open {
    wanted: usize,
    came: usize,
    /// How long the server may say nothing.
    patience: Duration,
}

/// Requests entries of one consumer.
pub(super) struct Pulls {
    subject: String,
    inbox: String,
    messages: Subscriber,
    ended: watch::Receiver<bool>,
    open: Option<Open>,
    /// How many requests were sent.
    number: u64,
    /// When the server said something, or something was asked of it.
    heard: Instant,
    /// Whether the next entry is larger than the room.
    large: bool,
    expires: Duration,
    silence: Duration,
}

impl Pulls {
    /// Requests of the consumer `name`, each of which ends after `expires`.
    pub(super) async fn new(
        session: &Session,
        stream: &str,
        name: &str,
        expires: Duration,
        silence: Duration,
    ) -> Result<Self> {
        let inbox = session.client().new_inbox();
        let messages = session.client().subscribe(format!("{inbox}.*")).await;
        let messages = messages.map_err(|error| lost("cannot subscribe").with_source(error))?;
        Ok(Self {
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            inbox,
            messages,
            ended: session.watch_end(),
            open: None,
            number: 0,
            heard: Instant::now(),
            large: false,
            expires,
            silence,
        })
    }

    /// Whether entries are still to come.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Requests what there is room for.
    pub(super) async fn ask(&mut self, session: &Session, room: Room) -> Result<()> {
        let wanted = if self.large {
            1
        } else {
            room.messages.clamp(1, BATCH_MAX)
        };
        // A heartbeat must come twice while a request is open.
        let beat = self.silence / 3;
        let beats = beat * 2 <= self.expires;
        let request = Request {
            batch: wanted,
            max_bytes: (!self.large).then_some(room.bytes.max(1)),
            expires: nanoseconds(self.expires),
            idle_heartbeat: beats.then(|| nanoseconds(beat)),
        };
        let request = serde_json::to_vec(&request)
            .map_err(|error| Error::internal("a request is no JSON").with_source(error))?;
        self.number += 1;
        self.heard = Instant::now();
        self.open = Some(Open {
            wanted,
            came: 0,
            patience: if beats {
                self.silence
            } else {
                self.expires + self.silence
            },
        });
        let reply = format!("{}.{}", self.inbox, self.number);
        let sent = session
            .client()
            .publish_with_reply(self.subject.clone(), reply, request.into())
            .await;
        sent.map_err(|error| lost("the connection has ended").with_source(error))
    }

    /// The next entry; none when the request is over, or nothing came until `end`.
    pub(super) async fn next(&mut self, end: Instant) -> Result<Option<Arrival>> {
        while let Some(open) = &self.open {
            let silent = self.heard + open.patience;
            let message = tokio::select! {
                biased;
                // First, and all of it: what came before the connection ended is as good as any.
                message = unconstrained(self.messages.next()) => message,
                _ = self.ended.wait_for(|ended| *ended) => None,
                () = sleep_until(end) => return Ok(None),
                () = sleep_until(silent) => {
                    return Err(lost("the server says nothing any more"));
                }
            };
            let message = message.ok_or_else(|| lost("the connection was lost"))?;
            self.heard = Instant::now();
            if let Some(arrival) = Arrival::of(&message) {
                self.count();
                return Ok(Some(arrival));
            }
            self.hear(&message)?;
        }
        Ok(None)
    }

    /// Counts an entry of the open request.
    fn count(&mut self) {
        if let Some(open) = &mut self.open {
            open.came += 1;
            self.large = false;
            if open.came >= open.wanted {
                self.open = None;
            }
        }
    }

    /// Takes what the server says about a request.
    fn hear(&mut self, told: &Message) -> Result<()> {
        if told.subject.as_str() != format!("{}.{}", self.inbox, self.number) {
            // About an earlier request, which is over.
            return Ok(());
        }
        let text = told.description.as_deref().unwrap_or_default();
        match told.status.map(|status| status.as_u16()) {
            Some(HEARTBEAT) => Ok(()),
            Some(status) if OVER.contains(&status) => {
                self.open = None;
                Ok(())
            }
            // The only way to know these apart is their text.
            Some(CONFLICT) if text.contains("MaxBytes") => {
                self.large = self.open.as_ref().is_some_and(|open| open.came == 0);
                self.open = None;
                Ok(())
            }
            _ if told.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(lost("the consumer is gone, or its stream, or its leader"))
            }
            Some(status) => Err(lost(format!("the server ends a request: {status} {text}"))),
            None => Err(lost("the server delivered something that is no entry")),
        }
    }
}

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulls")
            .field("subject", &self.subject)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// The stream has to be opened anew.
pub(super) fn lost(why: impl Into<Cow<'static, str>>) -> Error {
    Error::unavailable(why)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
