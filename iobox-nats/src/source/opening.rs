//! The opening: a consumer of its own for each reader, and an end to those of earlier ones.

use std::time::Duration;

use async_nats::jetstream::{
    Error as ApiError, ErrorCode,
    stream::{Info, RetentionPolicy},
};
use iobox_core::{
    Result,
    source::{Order, Reader, Start},
};

use super::{
    check::occupied,
    config::SourceConfig,
    consumers::{Consumers, Plan},
    course::Course,
    decoding::Decoder,
    entries::{Entries, judge, taken},
    filter::Filter,
    mark::Mark,
    names::Turn,
    pulls::{BATCH_MAX, Pulls},
    reader::{Acks, JetStreamReader, Parts},
    rewound::rewound,
    screen::{Screen, Unreadable},
};
use crate::{error::Refusal, session::Session};

/// How long a request of an ordered reader stays open.
const EXPIRES: Duration = Duration::from_secs(60);
/// How long a request stays open whose entries another instance could have.
const EXPIRES_SHARED: Duration = Duration::from_secs(1);
/// When an entry comes again that an ordered reader did not ack: longer than any store is away, since
/// a reader that does not live gets no second one, and its successor reads all that was not acked.
const ACK_WAIT: Duration = Duration::from_secs(3600);
/// When a stream that keeps its entries anyway forgets a reader that never came back.
const IDLE: Duration = Duration::from_secs(3600);
/// How many entries an ordered reader may hold: the batch that is stored, and the next one.
const PENDING: usize = 2 * BATCH_MAX;
/// How many all instances together may hold.
const PENDING_SHARED: usize = 16 * BATCH_MAX;

/// A connection, and what is to be read over it.
pub(super) struct Opening<'a> {
    pub(super) config: &'a SourceConfig,
    pub(super) session: Session,
    pub(super) info: Info,
    pub(super) start: &'a Start,
}

impl Opening<'_> {
    pub(super) async fn open(self) -> Result<Box<dyn Reader>> {
        match self.config.order {
            Order::Stream => self.open_in_order().await,
            _ => self.open_shared().await,
        }
    }

    /// Opens a reader that all instances have like this one.
    async fn open_shared(self) -> Result<Box<dyn Reader>> {
        let name = self.config.names.shared();
        let plan = Plan::new(name.clone(), &self.filter(), PENDING_SHARED);
        let plan = plan.ack_wait(self.config.ack_wait);
        let made = self.consumers().create(&plan).await?;
        made.map_err(|error| self.not_made(&error, None))?;
        self.reader(name, None, Acks::Each, None).await
    }

    /// Opens the reader that is the only one from now on.
    async fn open_in_order(self) -> Result<Box<dyn Reader>> {
        let retention = self.info.config.retention;
        let turn = Turn::from(self.start);
        let (mark, resumes) = self.mark().await?;
        let names = self.consumers().names().await?;
        let turns = names
            .iter()
            .filter_map(|name| Some((self.config.names.turn_of(name)?, name)));
        let (earlier, later): (Vec<_>, Vec<_>) = turns.partition(|(other, _)| *other < turn);
        if let Some((_, name)) = later.first()
            && retention != RetentionPolicy::Limits
        {
            return Err(newer(self.config, name).into());
        }
        let course = self.course(mark, resumes);
        if let Some(entry) = self.unreadable(mark).await {
            return Ok(Box::new(Screen {
                session: self.session,
                stream: self.config.stream.clone(),
                entry,
                course,
                removes: retention == RetentionPolicy::WorkQueue,
                brought: false,
            }));
        }
        let earlier: Vec<&String> = earlier.into_iter().map(|(_, name)| name).collect();
        let name = self.config.names.of(turn);
        let plan = Plan::new(name.clone(), &self.filter(), PENDING).ack_wait(ACK_WAIT);
        let mut leaves = None;
        let acks = match retention {
            // It allows one consumer, and none that starts anywhere but at the first entry.
            RetentionPolicy::WorkQueue => {
                self.delete(&earlier).await?;
                self.create(&plan).await?;
                Acks::Each
            }
            // It keeps what some consumer has not acked, so that there must always be one.
            RetentionPolicy::Interest => {
                self.create(&plan.from(mark.sequence + 1).ack_all()).await?;
                self.delete(&earlier).await?;
                Acks::UpTo
            }
            RetentionPolicy::Limits => {
                let plan = plan.from(mark.sequence + 1).ack_all();
                self.create(&plan.forgotten_after(IDLE)).await?;
                self.delete(&earlier).await?;
                leaves = Some(name.clone());
                Acks::UpTo
            }
        };
        self.reader(name, Some(course), acks, leaves).await
    }

    /// The next entry, if it would end the connection. A first reader does not look: it finds out.
    async fn unreadable(&self, mark: Mark) -> Option<Unreadable> {
        if self.start.opening <= 1 {
            return None;
        }
        let entries = self.entries();
        let look = async |from| {
            let raw = entries.next(from, &self.filter()).await?;
            Ok::<_, Refusal>(raw.and_then(|raw| {
                Some(Unreadable {
                    sequence: raw.sequence,
                    taken: taken(&raw),
                    reason: judge(&raw).err()?,
                })
            }))
        };
        let found = async {
            if self.info.config.retention == RetentionPolicy::WorkQueue
                && let Some(entry) = look(1).await?
                && mark.covers(entry.sequence, entry.taken)
            {
                // Refused and committed; its removal was not heard of.
                entries.remove(entry.sequence).await?;
            }
            look(mark.sequence + 1).await
        };
        self.unless_denied(found.await, None)
    }

    /// What is stored of this very stream as it is read now, and whether anything is.
    async fn mark(&self) -> Result<(Mark, bool)> {
        let created = self.info.created.unix_timestamp_nanos();
        let filter = self.filter().hash();
        let front = Mark::front(created, filter);
        let Some(position) = &self.start.position else {
            return Ok((front, false));
        };
        let mark = Mark::read(position)?;
        let what = if mark.created != created {
            "was deleted and made anew, or is another one"
        } else if mark.sequence > self.info.state.last_sequence {
            "lost its end, which was read already"
        } else {
            let again = self.gave_again(&mark).await;
            if !self.unless_denied(again, false) {
                if mark.filter.is_some_and(|other| other != filter) {
                    let uncounted = self.uncounted(&mark);
                    return Ok((Mark { uncounted, ..front }, true));
                }
                let filter = Some(filter);
                return Ok((Mark { filter, ..mark }, true));
            }
            "lost its end, and gave its numbers again"
        };
        rewound(&self.config.source, &self.config.stream, what);
        Ok((front, false))
    }

    /// Up to which number nothing counts as missing for a filter that is not the one of `mark`.
    fn uncounted(&self, mark: &Mark) -> u64 {
        let (source, stream) = (&self.config.source, &self.config.stream);
        tracing::warn!(%source, stream, "the topics are not those of the position: the stream is read from its beginning, and what is stored already is known by its ids");
        match self.info.config.retention {
            RetentionPolicy::Limits => mark.sequence.max(mark.uncounted),
            // What is gone was acked, by this source or by another consumer, or nobody wanted it.
            _ => self.info.state.last_sequence,
        }
    }

    /// Whether numbers that were read are those of other entries by now, as far as entries are left to
    /// tell it.
    async fn gave_again(&self, mark: &Mark) -> Result<bool, Refusal> {
        let entries = self.entries();
        let last = entries.at(mark.sequence).await?;
        let first = match last {
            Some(last) => Some(last),
            None => entries.next(1, &self.filter()).await?,
        };
        Ok(first.is_some_and(|raw| {
            raw.sequence <= mark.sequence && !mark.covers(raw.sequence, taken(&raw))
        }))
    }

    /// Goes on as if there were nothing to see where the user may not look at single entries.
    fn unless_denied<T>(&self, looked: Result<T, Refusal>, otherwise: T) -> T {
        looked.unwrap_or_else(|refusal| {
            let source = &self.config.source;
            tracing::warn!(%source, "entries cannot be looked at by their numbers: {}", refusal.text);
            otherwise
        })
    }

    fn course(&self, mark: Mark, resumes: bool) -> Course {
        let (info, first) = (&self.info, self.info.state.first_sequence);
        let total = self.filter().is_total(&info.config);
        let gone = mark.missing(first);
        if resumes && !total && gone > 0 && info.config.retention == RetentionPolicy::Limits {
            let (source, stream) = (&self.config.source, &self.config.stream);
            tracing::warn!(%source, stream, gone, "the stream removed entries behind the position; whether they were of the topics that are read cannot be told");
        }
        Course::new(mark, first, resumes, total)
    }

    async fn create(&self, plan: &Plan) -> Result<(), Refusal> {
        match self.consumers().create(plan).await? {
            Ok(()) => Ok(()),
            Err(error) => {
                let names = self.consumers().names().await?;
                let other = names.into_iter().find(|name| *name != plan.name);
                Err(self.not_made(&error, other))
            }
        }
    }

    async fn delete(&self, names: &[&String]) -> Result<(), Refusal> {
        for name in names {
            self.consumers().delete(name).await?;
        }
        Ok(())
    }

    /// Why the broker made no consumer, when there is `other`.
    fn not_made(&self, error: &ApiError, other: Option<String>) -> Refusal {
        match (error.error_code(), other) {
            (
                ErrorCode::CONSUMER_WQ_MULTIPLE_UNFILTERED
                | ErrorCode::CONSUMER_WQ_CONSUMER_NOT_UNIQUE,
                other,
            ) => match other {
                Some(other) if self.config.names.turn_of(&other).is_some() => {
                    newer(self.config, &other)
                }
                other => occupied(self.config, &other.unwrap_or_default()),
            },
            _ => self.consumers().refused(error),
        }
    }

    async fn reader(
        self,
        name: String,
        course: Option<Course>,
        acks: Acks,
        leaves: Option<String>,
    ) -> Result<Box<dyn Reader>> {
        let created = self.info.created.unix_timestamp_nanos();
        let expires = match course {
            Some(_) => EXPIRES,
            None => EXPIRES_SHARED,
        };
        let (stream, silence) = (&self.config.stream, self.config.silence);
        let pulls = Pulls::new(&self.session, stream, &name, expires, silence).await?;
        Ok(Box::new(JetStreamReader::new(Parts {
            pulls,
            source: self.config.source.clone(),
            stream: self.config.stream.clone(),
            decoder: Decoder::new(self.config, created, self.start.limits),
            course,
            acks,
            ack_timeout: self.config.ack_timeout,
            leaves,
            session: self.session,
        })))
    }

    fn filter(&self) -> Filter {
        Filter::of(self.config)
    }

    fn entries(&self) -> Entries<'_> {
        Entries {
            session: &self.session,
            stream: &self.config.stream,
        }
    }

    fn consumers(&self) -> Consumers<'_> {
        Consumers {
            session: &self.session,
            stream: &self.config.stream,
        }
    }
}

/// A stream that a later reader has.
fn newer(config: &SourceConfig, name: &str) -> Refusal {
    Refusal::unavailable(format!(
        "consumer {name} of stream {} is of a later reader, which has the stream now; if that reader's \
         database is gone or was set back, delete the consumer",
        config.stream
    ))
}
