//! A log behind a line that can be cut, whose oldest entries can be removed, and which can be made
//! anew; read by a source that is sound, or has a bug.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{Delivery, SourceName},
    message::{Draft, Message},
    source::{Batch, Order, Position, Reader, Refused, Room, Source, Start},
};
use iobox_testkit::source::{Harness, support::TOPICS};
use tokio::{sync::watch, time::timeout};

/// What a source does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// Begins at what was not acked, whatever the position says.
    TrustsTheBroker,
    /// Begins at the position, not behind it.
    BeginsAtThePosition,
    /// Begins one entry too late.
    SkipsOne,
    /// Begins behind what was read before, acked or not.
    TakesReadForAcked,
    /// Brings more than there is room for.
    IgnoresTheRoom,
    /// Brings more bytes than there is room for.
    IgnoresTheBytes,
    /// Brings the newest first.
    ReversesBatches,
    /// Leaves out the key.
    DropsKeys,
    /// Makes headers lower case.
    LowersHeaders,
    /// Fails as a whole for one entry that cannot be stored.
    FailsAtTheUnstorable,
    /// Leaves what cannot be stored out without a word.
    HidesTheUnstorable,
    /// Stops in front of what cannot be stored.
    KeepsThePositionAtARefusal,
    /// Gives foreign messages another id each time.
    InventsIds,
    /// Says nothing of what was removed.
    HidesLosses,
    /// Counts what was read and then removed as lost.
    CountsReadAsLost,
    /// Takes an old position for one in the new stream.
    TrustsOldPositions,
    /// Waits for ever behind a line that is cut.
    WaitsForEver,
    /// Waits to the end although something came.
    WaitsToTheEnd,
    /// Reads what another reader did not.
    TakesAway,
    /// Repeats the last batch after a cut.
    RepeatsBehindThePosition,
    /// Calls a broker that cannot be reached invalid.
    CallsOutagesInvalid,
}

/// Every bug, by its number.
pub(crate) const BUGS: [Bug; 22] = [
    Bug::None,
    Bug::TrustsTheBroker,
    Bug::BeginsAtThePosition,
    Bug::SkipsOne,
    Bug::TakesReadForAcked,
    Bug::IgnoresTheRoom,
    Bug::IgnoresTheBytes,
    Bug::ReversesBatches,
    Bug::DropsKeys,
    Bug::LowersHeaders,
    Bug::FailsAtTheUnstorable,
    Bug::HidesTheUnstorable,
    Bug::KeepsThePositionAtARefusal,
    Bug::InventsIds,
    Bug::HidesLosses,
    Bug::CountsReadAsLost,
    Bug::TrustsOldPositions,
    Bug::WaitsForEver,
    Bug::WaitsToTheEnd,
    Bug::TakesAway,
    Bug::RepeatsBehindThePosition,
    Bug::CallsOutagesInvalid,
];

/// An entry of the log.
#[derive(Debug, Clone)]
enum Entry {
    Ours(Message),
    Foreign(Vec<u8>),
}

#[derive(Debug, Default)]
struct Log {
    /// Raised when the log is made anew.
    life: u64,
    /// How many entries were removed.
    removed: u64,
    entries: Vec<Entry>,
    acked: u64,
    read: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    Mute,
    Cut(u64),
}

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    /// Raised with every change of the log.
    changes: watch::Sender<u64>,
    line: watch::Sender<Line>,
    cuts: Mutex<u64>,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic")
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.log());
        self.changes.send_modify(|count| *count += 1);
    }

    fn end(&self) -> u64 {
        let log = self.log();
        log.removed + log.entries.len() as u64
    }

    fn cuts(&self) -> u64 {
        *self.cuts.lock().expect("no panic")
    }
}

/// A source of the far log.
#[derive(Debug)]
pub(crate) struct Far {
    bug: Bug,
    name: SourceName,
    shared: Arc<Shared>,
}

impl Far {
    fn reach(&self) -> Result<()> {
        match *self.shared.line.borrow() {
            Line::Whole => Ok(()),
            _ if self.bug == Bug::CallsOutagesInvalid => Err(Error::invalid("no such server")),
            _ => Err(Error::unavailable("not connected")),
        }
    }
}

#[async_trait]
impl Source for Far {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn order(&self) -> Order {
        Order::Stream
    }

    async fn probe(&self) -> Result<()> {
        self.reach()
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        self.reach()?;
        let bug = self.bug;
        let log = self.shared.log();
        let mut next = 0;
        if let Some(position) = &start.position {
            let (life, at) = position.as_str().split_once('/').expect("a position");
            let at: u64 = at.parse().expect("a number");
            let same = life == log.life.to_string() || bug == Bug::TrustsOldPositions;
            next = if same { at } else { 0 };
            next = match bug {
                Bug::BeginsAtThePosition => next.saturating_sub(1),
                Bug::SkipsOne => next + 1,
                Bug::RepeatsBehindThePosition if self.shared.cuts() > 0 => next.saturating_sub(1),
                _ => next,
            };
        }
        match bug {
            Bug::TrustsTheBroker => next = log.acked,
            Bug::TakesReadForAcked => next = next.max(log.read),
            _ => {}
        }
        Ok(Box::new(FarReader {
            bug,
            shared: Arc::clone(&self.shared),
            start: start.clone(),
            next,
            cuts: self.shared.cuts(),
        }))
    }
}

/// A reader of the far log.
#[derive(Debug)]
struct FarReader {
    bug: Bug,
    shared: Arc<Shared>,
    start: Start,
    next: u64,
    cuts: u64,
}

impl FarReader {
    fn broken(&self) -> bool {
        self.shared.cuts() != self.cuts
    }

    /// Waits for an entry, for the end of the wait, or for a cut.
    async fn wait(&self, room: Room) -> Result<()> {
        let mut changes = self.shared.changes.subscribe();
        let there = async {
            loop {
                let whole = *self.shared.line.borrow() == Line::Whole;
                let end = self.shared.end();
                if (self.broken() && self.bug != Bug::WaitsForEver) || (whole && self.next < end) {
                    return;
                }
                changes.changed().await.expect("the log lives");
            }
        };
        let wait = match self.bug {
            Bug::WaitsForEver if *self.shared.line.borrow() != Line::Whole => Duration::MAX,
            _ => room.wait,
        };
        if self.bug == Bug::WaitsToTheEnd {
            tokio::time::sleep(room.wait).await;
        }
        let waited = timeout(wait, there).await;
        if self.broken() {
            return Err(Error::unavailable("the connection is lost"));
        }
        let mute = *self.shared.line.borrow() != Line::Whole;
        if waited.is_err() && mute {
            return Err(Error::unavailable("the broker is silent"));
        }
        Ok(())
    }

    fn delivery(&self, place: u64, entry: &Entry) -> Delivery {
        match entry {
            Entry::Foreign(payload) => {
                let id = match self.bug {
                    Bug::InventsIds => format!("{:x}", uuid::Uuid::now_v7().as_u128()),
                    _ => format!("foreign-{}-{place}", self.shared.log().life),
                };
                let draft = Draft::new(TOPICS[0], payload.clone()).id(id);
                Delivery::foreign(&draft).expect("a delivery")
            }
            Entry::Ours(one) => {
                let key = one.key().cloned().filter(|_| self.bug != Bug::DropsKeys);
                let mut headers = one.headers().clone();
                if self.bug == Bug::LowersHeaders {
                    let pairs = headers.iter();
                    let pairs = pairs.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
                    headers =
                        iobox_core::message::Headers::from_pairs(pairs.collect()).expect("headers");
                }
                Delivery::new(Message::new(
                    one.origin(),
                    one.id().clone(),
                    one.topic().clone(),
                    key,
                    headers,
                    one.payload().clone(),
                ))
            }
        }
    }
}

#[async_trait]
impl Reader for FarReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        self.wait(room).await?;
        let mut batch = Batch::default();
        let (life, removed, entries) = {
            let log = self.shared.log();
            (log.life, log.removed, log.entries.clone())
        };
        if self.bug == Bug::CountsReadAsLost {
            batch.lost = removed;
        }
        if self.next < removed {
            if self.bug != Bug::HidesLosses {
                batch.lost = removed - self.next;
            }
            self.next = removed;
        }
        let most = match self.bug {
            Bug::IgnoresTheRoom => usize::MAX,
            _ => room.messages,
        };
        let from = usize::try_from(self.next - removed).expect("small");
        let (mut bytes, mut position) = (0, self.next);
        for entry in entries.iter().skip(from).take(most) {
            let delivery = self.delivery(self.next, entry);
            bytes += delivery.message().size();
            let first = batch.deliveries.is_empty() && batch.refused.is_empty();
            if bytes > room.bytes && !first && self.bug != Bug::IgnoresTheBytes {
                break;
            }
            self.next += 1;
            match delivery.check(self.start.limits) {
                Ok(()) => batch.deliveries.push(delivery),
                Err(error) if self.bug == Bug::FailsAtTheUnstorable => return Err(error),
                Err(_) if self.bug == Bug::HidesTheUnstorable => {}
                Err(error) => {
                    batch.refused.push(Refused {
                        place: self.next.to_string(),
                        reason: error.to_string(),
                    });
                    if self.bug == Bug::KeepsThePositionAtARefusal {
                        continue;
                    }
                }
            }
            position = self.next;
        }
        if self.bug == Bug::KeepsThePositionAtARefusal && batch.deliveries.len() == 1 {
            position = position.min(1).saturating_sub(1);
        }
        if self.bug == Bug::ReversesBatches {
            batch.deliveries.reverse();
        }
        if !batch.deliveries.is_empty() || !batch.refused.is_empty() || batch.lost > 0 {
            batch.position = Some(Position::new(format!("{life}/{position}"))?);
        }
        let mut log = self.shared.log();
        log.read = log.read.max(self.next);
        if self.bug == Bug::TakesAway && !batch.deliveries.is_empty() {
            log.removed = self.next;
            let gone = usize::try_from(self.next - removed).expect("small");
            log.entries.drain(..gone);
        }
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        if self.broken() || *self.shared.line.borrow() != Line::Whole {
            return Err(Error::unavailable("the connection is lost"));
        }
        let mut log = self.shared.log();
        log.acked = log.acked.max(self.next);
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

/// The harness, with the bug of this number.
pub(crate) struct Linked<const BUG: usize>(Arc<Far>);

#[async_trait]
impl<const BUG: usize> Harness for Linked<BUG> {
    type Source = Far;

    const KEEPS_HEADER_ORDER: bool = true;
    const ONE_ORDER: bool = true;
    const TAKES_FOREIGN: bool = true;
    const CAN_BE_TRIMMED: bool = true;
    const CAN_BE_REMADE: bool = true;
    const CAN_BE_CUT: bool = true;

    async fn fresh() -> Self {
        Self(Arc::new(Far {
            bug: BUGS[BUG],
            name: SourceName::new("far").expect("a name"),
            shared: Arc::new(Shared {
                log: Mutex::default(),
                changes: watch::Sender::new(0),
                line: watch::Sender::new(Line::Whole),
                cuts: Mutex::default(),
            }),
        }))
    }

    fn source(&self) -> &Arc<Far> {
        &self.0
    }

    async fn another(&self) -> Result<Arc<Far>> {
        Ok(Arc::clone(&self.0))
    }

    async fn publish(&self, messages: &[Message]) {
        let ours = messages.iter().cloned().map(Entry::Ours);
        self.0.shared.change(|log| log.entries.extend(ours));
    }

    async fn foreign(&self, payload: &[u8]) {
        let entry = Entry::Foreign(payload.to_vec());
        self.0.shared.change(|log| log.entries.push(entry));
    }

    async fn trim(&self, keep: usize) {
        self.0.shared.change(|log| {
            let gone = log.entries.len().saturating_sub(keep);
            log.entries.drain(..gone);
            log.removed += gone as u64;
        });
    }

    async fn remake(&self) {
        self.0.shared.change(|log| {
            *log = Log {
                life: log.life + 1,
                ..Log::default()
            };
        });
    }

    async fn mute(&self) {
        self.0.shared.line.send_replace(Line::Mute);
        self.0.shared.change(|_| {});
    }

    async fn cut(&self) {
        let cuts = {
            let mut cuts = self.0.shared.cuts.lock().expect("no panic");
            *cuts += 1;
            *cuts
        };
        self.0.shared.line.send_replace(Line::Cut(cuts));
        self.0.shared.change(|_| {});
    }

    async fn mend(&self) {
        self.0.shared.line.send_replace(Line::Whole);
        self.0.shared.change(|_| {});
    }
}
