//! The ordered reader: every stream from its place on, with a group that only follows.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    source::{Batch, Position, Reader, Room},
};
use redis::RedisError;
use tokio::time::Instant;

use super::{
    arrival::Reading,
    carry::{Carried, Carry, Load},
    command,
    entry::{self, Entry},
    gauge::Gauge,
    line::{self, Line},
    look::Look,
    place::{Fate, Place},
    position,
    whole::Settings,
};
use crate::connection::now;

/// The longest time for which the server is asked to wait at once: a stream that was made anew
/// meanwhile, with lower ids, would not wake the reader.
const BLOCK_MAX: Duration = Duration::from_secs(1);
/// How many bytes of entries a second may be spent on looking at streams, which the server tells
/// along with the facts.
const LOOK_BYTES: usize = 1024 * 1024;
/// Up to how many bytes a look may have for each read to bring one along.
const LOOK_ALONG_BYTES: usize = 16 * 1024;
/// What the server tells of a stream takes so many bytes besides its entries.
const LOOK_STREAM_BYTES: usize = 512;

/// Reads streams in their order.
#[derive(Debug)]
pub(super) struct OrderedReader {
    settings: Arc<Settings>,
    reading: Reading,
    line: Line,
    /// One for each stream of the source.
    tracks: Vec<Track>,
    /// Places of streams that the source does not read any more.
    others: Vec<(String, Place)>,
    carry: Carry,
    gauge: Gauge,
    /// When to look at the streams again.
    look_at: Instant,
    /// How many bytes the last look had.
    look_bytes: usize,
    /// What the first look found.
    found: Found,
}

/// How far one stream is read.
#[derive(Debug)]
struct Track {
    /// Behind what the server sent.
    fetched: Place,
    /// Behind what is in a batch.
    given: Place,
    /// Where the group was moved to.
    acked: Option<Place>,
    /// Whether the stream was there when it was looked at, and how many entries it had got.
    there: bool,
    added: Option<u64>,
}

/// The entries of streams, by their numbers.
type Brought = Vec<(usize, Vec<Entry>)>;
/// What the server told of streams.
type Looks = Vec<Option<Look>>;

/// What a look found.
#[derive(Debug, Default)]
struct Found {
    lost: u64,
    /// Whether a place was moved without an entry.
    moved: bool,
}

impl OrderedReader {
    /// Opens a reader behind a position.
    pub(super) async fn open(
        settings: Arc<Settings>,
        reading: Reading,
        position: Option<&Position>,
    ) -> Result<Self> {
        let mut others = position.map_or(Ok(Vec::new()), position::read)?;
        let track = |key: &str| {
            let known = others.iter().position(|(other, _)| other == key);
            let place = known.map(|at| others.swap_remove(at).1).unwrap_or_default();
            Track {
                fetched: place,
                given: place,
                acked: None,
                there: false,
                added: None,
            }
        };
        let keys = settings.streams.iter().map(|stream| stream.key.as_str());
        let tracks = keys.map(track).collect();
        let line = Line::open(&settings.connector).await?;
        let mut reader = Self {
            settings,
            reading,
            line,
            tracks,
            others,
            carry: Carry::default(),
            gauge: Gauge::default(),
            look_at: now(),
            look_bytes: 0,
            found: Found::default(),
        };
        reader.look().await?;
        // The position is committed. A group that cannot be moved is no reason not to read.
        if let Err(error) = reader.move_groups().await {
            let source = &reader.settings.name;
            tracing::warn!(%source, %error, "the groups of the source do not follow");
        }
        Ok(reader)
    }

    /// Looks what became of the streams. Nothing may be carried.
    async fn look(&mut self) -> Result<()> {
        let looks = self.line.look(self.settings.streams.iter()).await?;
        for (index, look) in looks.iter().enumerate() {
            self.follow(index, look.as_ref());
        }
        let bytes: usize = looks.iter().flatten().map(|look| look.bytes).sum();
        let pause = Duration::from_secs(1).saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
            / u32::try_from(LOOK_BYTES).unwrap_or(u32::MAX);
        self.look_at = now() + pause;
        self.look_bytes = bytes + looks.len() * LOOK_STREAM_BYTES;
        Ok(())
    }

    /// Follows a stream, of which nothing may be carried, to what the server tells of it.
    fn follow(&mut self, index: usize, look: Option<&Look>) {
        let track = &mut self.tracks[index];
        let before = track.fetched;
        let (fate, mut lost) = track.fetched.follow(look);
        if fate == Fate::Gone {
            // It was there at the last look, and with it what was not read yet.
            let unread = track.added.zip(before.added);
            lost = unread.map_or(0, |(added, read)| added.saturating_sub(read));
        }
        track.given = track.fetched;
        track.there = look.is_some();
        track.added = look.map_or(Some(0), |look| look.added);
        self.found.lost += lost;
        self.found.moved |= lost > 0 || fate != Fate::Same;
        if let Some(sentence) = sentence(fate) {
            let source = &self.settings.name;
            let stream = &self.settings.streams[index].key;
            tracing::error!(%source, stream, at = %before.at, "{sentence}");
        }
    }

    /// Reads what fits into the room, and carries it. Tells whether a stream may have more.
    ///
    /// A stream may have been made anew since it was looked at, while the read waited or before, and
    /// its entries have ids of another round then. So it is looked at directly behind the read: what
    /// is not of the stream that was followed is dropped, and read again as what it is.
    async fn read(&mut self, room: Room, wait: Duration) -> Result<bool> {
        let settings = Arc::clone(&self.settings);
        let count = self.gauge.count(room, settings.streams.len());
        let (found, looks) = self.read_and_look(count, wait).await?;
        self.gauge
            .note(found.iter().flat_map(|(_, entries)| entries));
        let now = self.line.now();
        let mut more = false;
        for ((index, entries), look) in found.into_iter().zip(looks) {
            // One that is gone again has nothing that could be read twice.
            if let Some(look) = look
                && self.tracks[index].fetched.is_of_another(&look)
            {
                self.follow(index, Some(&look));
                more = true;
                continue;
            }
            let stream = &settings.streams[index];
            let fetched = &mut self.tracks[index].fetched;
            more |= entries.len() >= count;
            for entry in entries {
                fetched.pass(entry.id);
                self.carry.push(Carried {
                    stream: index,
                    id: entry.id,
                    arrival: self.reading.arrival(stream, fetched.round, &entry, now),
                });
            }
        }
        Ok(more)
    }

    /// What a read brings of each stream that has something, and a look at each of these behind it.
    async fn read_and_look(&self, count: usize, wait: Duration) -> Result<(Brought, Looks)> {
        let streams = &self.settings.streams;
        let places = streams.iter().zip(&self.tracks);
        let places = places.map(|(stream, track)| (stream.key.as_str(), track.fetched.at));
        let command = command::read(count, wait, places);
        let is_along = self.look_bytes <= LOOK_ALONG_BYTES;
        let (reply, along) = if is_along {
            self.line.ask_and_look(command, wait, streams).await?
        } else {
            (self.line.ask_and_wait(&command, wait).await?, Vec::new())
        };
        let mut brought = Vec::new();
        for (key, entries) in entry::streams(reply)? {
            let known = streams
                .iter()
                .position(|stream| stream.key.as_bytes() == key);
            brought.push((known.ok_or_else(entry::unreadable)?, entries));
        }
        let looks = if is_along {
            let mut along: Vec<_> = along.into_iter().map(Some).collect();
            let looks = brought.iter().map(|(index, _)| along[*index].take());
            looks
                .map(|look| look.ok_or_else(entry::unreadable)?)
                .collect::<Result<_>>()?
        } else {
            let brought = brought.iter().map(|(index, _)| &streams[*index]);
            self.line.look(brought).await?
        };
        Ok((brought, looks))
    }

    /// Fills a batch: what is carried, then what the streams have.
    async fn fill(&mut self, load: &mut Load, until: Instant) -> Result<()> {
        let mut more = true;
        loop {
            let tracks = &mut self.tracks;
            self.carry
                .unload(load, |stream, id| tracks[stream].given.pass(id));
            if !self.carry.is_empty() || (!load.is_empty() && !more) {
                return Ok(());
            }
            if load.is_empty() && now() >= self.look_at {
                self.look().await?;
            }
            let room = load.room();
            if room.messages == 0 || room.bytes == 0 {
                return Ok(());
            }
            let waits = load.is_empty() && !self.found.moved;
            let left = until.saturating_duration_since(now());
            let wait = if waits {
                left.min(BLOCK_MAX)
            } else {
                Duration::ZERO
            };
            more = self.read(room, wait).await?;
            if self.carry.is_empty() && (!waits || now() >= until) {
                return Ok(());
            }
        }
    }

    /// Moves the group of each stream to what was given.
    async fn move_groups(&mut self) -> Result<()> {
        let group = self.settings.name.as_str();
        let mut moved = Vec::new();
        for (index, track) in self.tracks.iter().enumerate() {
            if track.acked != Some(track.given) && track.there {
                moved.push(index);
            }
        }
        let commands = |moved: &[usize], make: bool| {
            let command = |index: &usize| {
                let key = self.settings.streams[*index].key.as_str();
                let Place { at, added, .. } = self.tracks[*index].given;
                if make {
                    command::make_group(key, group, at, added)
                } else {
                    command::move_group(key, group, at, added)
                }
            };
            moved.iter().map(command).collect::<Vec<_>>()
        };
        let replies = self.line.ask_all(commands(&moved, false)).await?;
        let mut missing = Vec::new();
        for (index, reply) in moved.iter().zip(replies) {
            match reply {
                Err(refused) if refused.code() == Some("NOGROUP") => missing.push(*index),
                reply => took(reply.err())?,
            }
        }
        for reply in self.line.ask_all(commands(&missing, true)).await? {
            took(
                reply
                    .err()
                    .filter(|refused| refused.code() != Some("BUSYGROUP")),
            )?;
        }
        for index in moved {
            self.tracks[index].acked = Some(self.tracks[index].given);
        }
        Ok(())
    }

    /// How many entries the streams have behind what was given.
    fn behind(&self) -> Option<u64> {
        let behind = |track: &Track| {
            let (added, read) = track.added.zip(track.given.added)?;
            Some(added.saturating_sub(read))
        };
        let all: Option<u64> = self.tracks.iter().map(behind).sum();
        let carried = u64::try_from(self.carry.len()).unwrap_or(u64::MAX);
        all.map(|all| all.max(carried))
    }
}

/// Whether the server took a move. A stream that is gone needs none.
fn took(refused: Option<RedisError>) -> Result<()> {
    match refused {
        Some(refused) if !line::is_missing(&refused) => Err(Error::unavailable(format!(
            "the group was not moved: {}",
            line::refusal(&refused)
        ))),
        _ => Ok(()),
    }
}

/// What to tell a person of a stream that is not what it was.
fn sentence(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Same => None,
        Fate::Gone => Some("the stream was deleted; what it gets from now on is read"),
        Fate::Anew => Some("the stream was deleted and made anew; it is read from its beginning"),
        Fate::Forgot => Some(
            "Redis has forgotten entries that were read already; the stream is read on behind \
             those that it has",
        ),
        Fate::Rewound => Some(
            "Redis has forgotten entries that were read already, and has got others; the stream is \
             read again from its beginning",
        ),
    }
}

#[async_trait]
impl Reader for OrderedReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let until = now() + room.wait;
        let mut load = Load::new(room);
        self.fill(&mut load, until).await?;
        let found = std::mem::take(&mut self.found);
        let is_read = !load.is_empty() || found.moved;
        let mut batch = load.batch;
        batch.lost = found.lost;
        batch.behind = self.behind();
        if is_read {
            let keys = self
                .settings
                .streams
                .iter()
                .map(|stream| stream.key.as_str());
            let places = keys.zip(self.tracks.iter().map(|track| track.given));
            batch.position = Some(position::write(places, &self.others)?);
        }
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        self.move_groups().await
    }

    async fn close(self: Box<Self>) {}
}
