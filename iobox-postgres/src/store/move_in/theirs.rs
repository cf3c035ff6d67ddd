//! A row of go-iobox: how it is read, and what it becomes.

use iobox_core::{
    Result,
    inbox::HandlerName,
    message::{Limits, MessageId, Topic},
    store::State,
};
use sqlx::postgres::PgRow;

use super::{LeftRow, MoveIn, MovedTable};
use crate::row::get;

/// The longest reason that is recorded, in bytes.
const REASON_MAX: usize = 1_000;

/// A row as it was picked.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) at: String,
    pub(super) id: String,
    pub(super) handler: Option<String>,
    status: Option<String>,
    event_type: String,
    payload_bytes: usize,
    attempt: i32,
    error: Option<String>,
}

/// A row that is moved.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: String,
    /// The key of its handler; empty in the outbox.
    pub(super) handler: String,
    pub(super) topic: String,
    pub(super) state: State,
    pub(super) uncertain: bool,
    pub(super) attempt: i32,
    pub(super) reason: Option<String>,
    payload_bytes: usize,
}

impl Theirs {
    pub(super) fn read(row: &PgRow) -> Result<Self> {
        Ok(Self {
            at: get(row, 0)?,
            id: get(row, 1)?,
            handler: get(row, 2)?,
            status: get(row, 3)?,
            event_type: get(row, 4)?,
            payload_bytes: usize::try_from(get::<i64>(row, 5)?).unwrap_or(usize::MAX),
            attempt: get(row, 6)?,
            error: get(row, 7)?,
        })
    }

    /// How much of the bound on a batch it takes.
    pub(super) const fn bytes(&self, limits: Limits) -> usize {
        // What is too large stays.
        if self.payload_bytes > limits.payload_max() {
            0
        } else {
            self.payload_bytes
        }
    }

    /// What it becomes, or why it stays.
    pub(super) fn take(self, options: &MoveIn, limits: Limits) -> Result<Taken, LeftRow> {
        match self.fit(options, limits) {
            Ok((state, uncertain)) => Ok(Taken {
                state,
                uncertain,
                attempt: self.attempt.max(0),
                reason: self.error.map(tidy),
                id: self.id,
                handler: self.handler.unwrap_or_default(),
                topic: self.event_type,
                payload_bytes: self.payload_bytes,
            }),
            Err(reason) => Err(LeftRow::new(self.id, self.handler, reason)),
        }
    }

    fn fit(&self, options: &MoveIn, limits: Limits) -> Result<(State, bool), String> {
        let why = |error: iobox_core::Error| error.to_string();
        MessageId::new(&self.id).map_err(why)?;
        Topic::new(&self.event_type).map_err(why)?;
        if let Some(handler) = &self.handler {
            HandlerName::new(handler).map_err(why)?;
        }
        if self.payload_bytes > limits.payload_max() {
            return Err(format!(
                "payload has {} bytes; at most {} are allowed",
                self.payload_bytes,
                limits.payload_max()
            ));
        }
        match self.status.as_deref() {
            None => Ok((State::Pending, false)),
            Some("progress") if options.takes_progress => Ok((State::Pending, true)),
            Some("progress") => Err("its status is progress, which is not taken".into()),
            // The outbox of go-iobox has no retries: nothing says when, so it is now.
            Some("failed") if self.handler.is_none() => Ok((State::Pending, false)),
            Some("failed") => Ok((State::Retrying, false)),
            Some("dead") => Ok((State::Dead, false)),
            Some("done") => Ok((State::Done, false)),
            Some(_) => Err("its status is none that go-iobox writes".into()),
        }
    }
}

impl Taken {
    /// The size of its row, as [`Message::size`](iobox_core::message::Message::size) counts.
    pub(super) fn size(&self, key: Option<&str>) -> i32 {
        let text = self.id.len() + self.topic.len() + key.map_or(0, str::len);
        i32::try_from(text + self.payload_bytes).unwrap_or(i32::MAX)
    }

    /// Counts it as moved.
    pub(super) const fn count(&self, moved: &mut MovedTable) {
        match self.state {
            State::Retrying => moved.retrying += 1,
            State::Dead => moved.dead += 1,
            State::Done => moved.done += 1,
            _ if self.uncertain => moved.uncertain += 1,
            _ => moved.pending += 1,
        }
    }
}

/// Makes a reason of an error of somebody else: one line, of bounded length.
fn tidy(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(REASON_MAX.min(error.len())));
    error.replace(char::is_control, " ")
}
