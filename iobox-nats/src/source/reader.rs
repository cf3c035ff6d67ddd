//! The reader: batches out of one consumer, and acks back to it.

use std::{collections::VecDeque, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::SourceName,
    source::{Batch, Reader, Refused, Room},
};
use tokio::time::{Instant, timeout};

use super::{
    arrival::Arrival,
    clock,
    consumers::Consumers,
    course::Course,
    decoding::Decoder,
    pulls::Pulls,
    rewound::rewound,
    tell::{Tell, Verdict, tell},
};
use crate::session::Session;

/// How long a batch waits for entries that the server has and that are not here yet.
const LINGER: Duration = Duration::from_millis(50);
/// How many entries that are stored already are acked at once.
const KNOWN_MAX: usize = 1_024;
/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(2);

/// How a consumer takes acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    /// One for each entry.
    Each,
    /// One for all up to an entry.
    UpTo,
}

/// What a reader is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) session: Session,
    pub(super) source: SourceName,
    pub(super) stream: String,
    pub(super) pulls: Pulls,
    pub(super) decoder: Decoder,
    /// None when entries are read in no order.
    pub(super) course: Option<Course>,
    pub(super) acks: Acks,
    pub(super) ack_timeout: Duration,
    /// The consumer that nobody needs when the reader is closed.
    pub(super) leaves: Option<String>,
}

/// Reads one consumer.
#[derive(Debug)]
pub(super) struct JetStreamReader {
    parts: Parts,
    /// What came and was not brought.
    waiting: VecDeque<Arrival>,
    /// What came again and is stored: acked as soon as it is met.
    known: Vec<Tell>,
    /// What the broker is to be told of the last batch.
    tells: Vec<Tell>,
    /// Why nothing more comes.
    failed: Option<Error>,
}

impl JetStreamReader {
    pub(super) const fn new(parts: Parts) -> Self {
        Self {
            parts,
            waiting: VecDeque::new(),
            known: Vec::new(),
            tells: Vec::new(),
            failed: None,
        }
    }

    /// Waits for entries until there is enough for a batch, or until `end` for the first.
    async fn fill(&mut self, room: Room, end: Instant) -> Result<()> {
        let mut bytes = self.waiting.iter().map(Arrival::bytes).sum::<usize>();
        let mut until = end;
        while self.waiting.len() < room.messages && bytes < room.bytes {
            if !self.parts.pulls.is_open() {
                if !self.waiting.is_empty() {
                    break;
                }
                self.parts.pulls.ask(&self.parts.session, room).await?;
            }
            let Some(arrival) = self.parts.pulls.next(until).await? else {
                if self.waiting.is_empty() && Instant::now() < end {
                    // The request is over, and there is time for another.
                    continue;
                }
                break;
            };
            let first = self.waiting.is_empty();
            let last = arrival.place.pending == 0;
            bytes += self.meet(arrival)?;
            if self.waiting.is_empty() {
                if last || self.known.len() >= KNOWN_MAX {
                    self.ack_known().await?;
                }
                continue;
            }
            if last {
                break;
            }
            if first {
                until = Instant::now() + LINGER;
            }
        }
        self.ack_known().await
    }

    /// Sorts an arrival; the bytes that it adds to the batch.
    fn meet(&mut self, arrival: Arrival) -> Result<usize> {
        let new = match &mut self.parts.course {
            Some(course) => course.meet(&arrival.place)?,
            None => true,
        };
        if !new {
            self.known.push(Tell {
                reply: arrival.reply,
                verdict: Verdict::Ack,
            });
            return Ok(0);
        }
        let bytes = arrival.bytes();
        self.waiting.push_back(arrival);
        Ok(bytes)
    }

    /// Tells the broker what is stored already, as it would be told after a commit.
    async fn ack_known(&mut self) -> Result<()> {
        if self.known.is_empty() {
            return Ok(());
        }
        let known = std::mem::take(&mut self.known);
        tell(&self.parts.session, known, self.parts.ack_timeout).await
    }

    /// Makes a batch of what waits.
    fn brought(&mut self, room: Room) -> Result<Batch> {
        let mut batch = Batch::default();
        let (mut bytes, mut count) = (0, 0);
        let mut last = None;
        let now = clock::now();
        while let Some(arrival) = self.waiting.front() {
            bytes += arrival.bytes();
            if count > 0 && (bytes > room.bytes || count >= room.messages) {
                break;
            }
            let Some(arrival) = self.waiting.pop_front() else {
                break;
            };
            count += 1;
            if let Some(course) = &mut self.parts.course {
                let place = &arrival.place;
                if course.bring(place.stream, place.taken)? {
                    rewound(
                        &self.parts.source,
                        &self.parts.stream,
                        "gives its numbers again",
                    );
                }
            }
            batch.behind = Some(arrival.place.pending);
            let verdict = match self.parts.decoder.decode(&arrival, now) {
                Ok(delivery) => {
                    batch.deliveries.push(delivery);
                    Verdict::Ack
                }
                Err(reason) => {
                    batch.refused.push(Refused {
                        place: arrival.place.stream.to_string(),
                        reason,
                    });
                    Verdict::Term
                }
            };
            let one = Tell {
                reply: arrival.reply,
                verdict,
            };
            if verdict == Verdict::Term || self.parts.acks == Acks::Each {
                // A refusal is for all up to it too, where acks are.
                last = None;
                self.tells.push(one);
            } else {
                last = Some(one);
            }
        }
        self.tells.extend(last);
        if let Some(course) = &mut self.parts.course
            && (count > 0 || course.has_removed())
        {
            batch.lost = course.take_removed();
            batch.position = Some(course.position()?);
        }
        Ok(batch)
    }

    /// Requests the next batch while this one is stored.
    async fn ask_ahead(&mut self, room: Room) -> Result<()> {
        let idle = self.waiting.is_empty() && !self.parts.pulls.is_open();
        if self.parts.course.is_some() && idle {
            self.parts.pulls.ask(&self.parts.session, room).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for JetStreamReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.tells.clear();
        let removed = self.parts.course.as_ref().is_some_and(Course::has_removed);
        let end = Instant::now() + if removed { Duration::ZERO } else { room.wait };
        if let Err(error) = self.fill(room, end).await {
            if self.waiting.is_empty() {
                return Err(error);
            }
            // What came before is as good as any.
            self.failed = Some(error);
        }
        let batch = self.brought(room)?;
        if self.failed.is_none() {
            self.failed = self.ask_ahead(room).await.err();
        }
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        let tells = std::mem::take(&mut self.tells);
        tell(&self.parts.session, tells, self.parts.ack_timeout).await
    }

    async fn close(mut self: Box<Self>) {
        let session = &self.parts.session;
        let leave = async {
            if let Some(name) = &self.parts.leaves {
                let consumers = Consumers {
                    session,
                    stream: &self.parts.stream,
                };
                // It vanishes by itself, and the next reader deletes it before that.
                let _ = consumers.delete(name).await;
            }
            if self.parts.course.is_none() {
                let others = self.waiting.drain(..).map(|arrival| Tell {
                    reply: arrival.reply,
                    verdict: Verdict::Nak,
                });
                // What is not told is delivered again after a while.
                let _ = tell(session, others.collect(), CLOSE).await;
            }
        };
        let _ = timeout(CLOSE, leave).await;
    }
}
