//! The unordered reader: one consumer of a group, which takes over what dead ones left.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    source::{Batch, Reader, Room},
};
use redis::Value;
use tokio::time::Instant;

use super::{
    arrival::Reading,
    carry::{Carried, Carry, Load},
    command,
    consumer::Consumer,
    entry::{self, Entry, EntryId},
    gauge::Gauge,
    line::{self, Line},
    whole::Settings,
};
use crate::connection::now;

/// The longest time for which the server is asked to wait at once, and so the longest time for which
/// a reader that ends has to wait for it.
const BLOCK_MAX: Duration = Duration::from_secs(1);

/// Reads as one consumer of many.
#[derive(Debug)]
pub(super) struct UnorderedReader {
    settings: Arc<Settings>,
    reading: Reading,
    line: Line,
    consumer: Consumer,
    /// How far each stream is read of what this consumer was given earlier; `None` when there is
    /// nothing more of it.
    earlier: Option<Vec<EntryId>>,
    claims: Claims,
    carry: Carry,
    gauge: Gauge,
    /// What was given of each stream and is not acked.
    given: Vec<Vec<EntryId>>,
    lost: u64,
}

/// The round through the streams for what others did not ack.
#[derive(Debug)]
struct Claims {
    /// When the next one begins.
    next: Instant,
    /// The stream that is gone through, and how far.
    at: Option<(usize, EntryId)>,
}

impl UnorderedReader {
    /// Opens a reader; streams and groups that are not there are made.
    pub(super) async fn open(settings: Arc<Settings>, reading: Reading) -> Result<Self> {
        let line = Line::open(&settings.connector).await?;
        line.look(settings.streams.iter()).await?;
        let make = |key: &str| command::make_stream(key, settings.name.as_str());
        let keys = settings.streams.iter().map(|stream| stream.key.as_str());
        for reply in line.ask_all(keys.map(make)).await? {
            if let Err(refused) = reply
                && refused.code() != Some("BUSYGROUP")
            {
                return Err(line::refusal(&refused));
            }
        }
        let streams = settings.streams.len();
        Ok(Self {
            consumer: settings.consumers.take(),
            settings,
            reading,
            line,
            earlier: Some(vec![EntryId::ZERO; streams]),
            claims: Claims {
                next: now(),
                at: None,
            },
            carry: Carry::default(),
            gauge: Gauge::default(),
            given: vec![Vec::new(); streams],
            lost: 0,
        })
    }

    fn names(&self) -> (&str, &str) {
        (self.settings.name.as_str(), &self.consumer.name)
    }

    /// Reads from wherever there is something, and carries it. Tells whether there may be more.
    async fn read(&mut self, room: Room, wait: Duration) -> Result<bool> {
        if self.earlier.is_some() {
            return self.read_earlier(room).await;
        }
        if self.claims.at.is_none() && now() >= self.claims.next {
            self.claims.at = Some((0, EntryId::ZERO));
        }
        if let Some((stream, from)) = self.claims.at {
            return self.claim(room, stream, from).await;
        }
        self.read_new(room, wait).await
    }

    /// Reads what this consumer was given before and did not ack.
    async fn read_earlier(&mut self, room: Room) -> Result<bool> {
        let places = self.earlier.take().unwrap_or_default();
        let streams = &self.settings.streams;
        let count = self.gauge.count(room, streams.len());
        let ids = streams.iter().zip(&places);
        let ids = ids.map(|(stream, at)| (stream.key.as_str(), Some(*at)));
        let command = command::read_group(self.names(), count, Duration::ZERO, ids);
        let found = self.found(self.line.ask(&command).await?)?;
        let mut next = places;
        let mut is_over = true;
        for (index, entries) in &found {
            if let Some(last) = entries.last() {
                next[*index] = last.id;
                is_over = false;
            }
        }
        self.take(found).await?;
        if !is_over {
            self.earlier = Some(next);
        }
        Ok(true)
    }

    /// Takes over what others did not ack, of one stream at a time.
    async fn claim(&mut self, room: Room, stream: usize, from: EntryId) -> Result<bool> {
        let key = self.settings.streams[stream].key.as_str();
        let idle = self.settings.claim_after;
        let count = self.gauge.count(room, 1);
        let command = command::claim(key, self.names(), idle, from, count);
        let mut parts = entry::list(self.line.ask(&command).await?)?.into_iter();
        let (Some(next), Some(entries)) = (parts.next(), parts.next()) else {
            return Err(entry::unreadable());
        };
        let next = entry::id(next)?;
        // Redis 7.0 and later have acked what was removed, and tell it.
        let removed = parts.next().map_or(Ok(Vec::new()), entry::list)?;
        self.lost += u64::try_from(removed.len()).unwrap_or(u64::MAX);
        self.take(vec![(stream, entry::entries(entries)?)]).await?;
        self.claims.at = match next {
            EntryId::ZERO if stream + 1 < self.settings.streams.len() => {
                Some((stream + 1, EntryId::ZERO))
            }
            EntryId::ZERO => {
                self.claims.next = now() + idle / 2;
                None
            }
            next => Some((stream, next)),
        };
        Ok(true)
    }

    /// Reads what no consumer was given.
    async fn read_new(&mut self, room: Room, wait: Duration) -> Result<bool> {
        let streams = &self.settings.streams;
        let count = self.gauge.count(room, streams.len());
        let ids = streams.iter().map(|stream| (stream.key.as_str(), None));
        let command = command::read_group(self.names(), count, wait, ids);
        let found = self.found(self.line.ask_and_wait(&command, wait).await?)?;
        let more = found.iter().any(|(_, entries)| entries.len() >= count);
        self.take(found).await?;
        Ok(more)
    }

    /// The entries of a reply, by the number of their stream.
    fn found(&self, reply: Value) -> Result<Vec<(usize, Vec<Entry>)>> {
        let number = |(key, entries): (Vec<u8>, Vec<Entry>)| {
            let mut streams = self.settings.streams.iter();
            let index = streams.position(|stream| stream.key.as_bytes() == key);
            Ok((index.ok_or_else(entry::unreadable)?, entries))
        };
        entry::streams(reply)?.into_iter().map(number).collect()
    }

    /// Carries entries; those that were removed are acked at once, since nothing of them is stored.
    async fn take(&mut self, found: Vec<(usize, Vec<Entry>)>) -> Result<()> {
        self.gauge
            .note(found.iter().flat_map(|(_, entries)| entries));
        let now = self.line.now();
        let mut acks = Vec::new();
        for (index, entries) in found {
            let stream = &self.settings.streams[index];
            let (there, removed): (Vec<_>, Vec<_>) = entries
                .into_iter()
                .partition(|entry| entry.fields.is_some());
            if !removed.is_empty() {
                self.lost += u64::try_from(removed.len()).unwrap_or(u64::MAX);
                let ids: Vec<EntryId> = removed.iter().map(|entry| entry.id).collect();
                acks.push(command::ack(&stream.key, self.names().0, &ids));
            }
            for entry in there {
                self.carry.push(Carried {
                    stream: index,
                    id: entry.id,
                    arrival: self.reading.arrival(stream, 0, &entry, now),
                });
            }
        }
        for reply in self.line.ask_all(acks).await? {
            reply.map_err(|refused| line::refusal(&refused))?;
        }
        Ok(())
    }

    /// Fills a batch: what is carried, then what there is.
    async fn fill(&mut self, load: &mut Load, until: Instant) -> Result<()> {
        let mut more = true;
        loop {
            let given = &mut self.given;
            self.carry.unload(load, |stream, id| given[stream].push(id));
            if !self.carry.is_empty() || (!load.is_empty() && !more) {
                return Ok(());
            }
            let room = load.room();
            if room.messages == 0 || room.bytes == 0 {
                return Ok(());
            }
            let waits = load.is_empty() && self.lost == 0;
            let left = until.saturating_duration_since(now());
            let wait = if waits {
                left.min(BLOCK_MAX)
            } else {
                Duration::ZERO
            };
            more = self.read(room, wait).await?;
            if self.carry.is_empty() && !more && (!waits || now() >= until) {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Reader for UnorderedReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let until = now() + room.wait;
        let mut load = Load::new(room);
        self.fill(&mut load, until).await?;
        let mut batch = load.batch;
        batch.lost = std::mem::take(&mut self.lost);
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        let group = self.settings.name.as_str();
        let given = self.settings.streams.iter().zip(&self.given);
        let given = given.filter(|(_, ids)| !ids.is_empty());
        let acks = given.map(|(stream, ids)| command::ack(&stream.key, group, ids));
        for reply in self.line.ask_all(acks).await? {
            reply.map_err(|refused| line::refusal(&refused))?;
        }
        self.given.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Removes the consumer from each stream in which nothing is left to it. Commands of a connection
    /// are done one after the other, so that a read that was given up has ended before.
    async fn close(self: Box<Self>) {
        let names = self.names();
        let keys = || {
            self.settings
                .streams
                .iter()
                .map(|stream| stream.key.as_str())
        };
        let left = keys().map(|key| command::pending(key, names));
        let Ok(left) = self.line.ask_all(left).await else {
            return;
        };
        let nothing = |reply| matches!(reply, Ok(Value::Array(left)) if left.is_empty());
        let empty = keys()
            .zip(left)
            .filter_map(|(key, reply)| nothing(reply).then_some(key));
        let removals: Vec<_> = empty
            .map(|key| command::remove_consumer(key, names))
            .collect();
        // Whoever is left over is found in the list of consumers, and does no harm.
        let _ = self.line.ask_all(removals).await;
    }
}
