//! The plan: which kills a run makes, in which order and after how much work, all from one seed.

use std::{fmt, time::Duration};

use fastrand::Rng;

/// How many relays a flow has, and how many inboxes.
pub(crate) const WORKERS: usize = 3;
/// Of so many events of a flow, one kills two at once.
const DOUBLES: usize = 6;
/// The longest outage of a server.
const DOWN_MAX_MS: u64 = 600;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Relay(usize),
    Inbox(usize),
    Postgres,
    Broker,
}

/// One cycle: work, a kill or two at once, an outage, a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) victims: Vec<Victim>,
    /// How many messages are handled before it.
    pub(crate) after: u64,
    /// Whether it waits for a moment until one of the first victim's kind has work in hand, and takes
    /// that one.
    pub(crate) when_busy: bool,
    /// How long a server stays away.
    pub(crate) down: Duration,
}

/// What a flow can lose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// How many of each kind there are in a deck.
    kinds: &'static [(Kind, usize)],
    /// The most messages that are handled before an event.
    after_max: u64,
}

/// A kind of victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Relay,
    Inbox,
    Postgres,
    Broker,
}

/// Of the flow with a Postgres.
pub(crate) const POSTGRES: Shares = Shares {
    kinds: &[
        (Kind::Postgres, 6),
        (Kind::Broker, 4),
        (Kind::Relay, 3),
        (Kind::Inbox, 3),
    ],
    after_max: 120,
};
/// Of the flow whose database is a file.
pub(crate) const SQLITE: Shares = Shares {
    kinds: &[(Kind::Broker, 4), (Kind::Relay, 3), (Kind::Inbox, 3)],
    after_max: 300,
};

/// How many cycles of a run each of the two flows has.
pub(crate) const fn split(cycles: usize) -> [usize; 2] {
    let first = (cycles * 3).div_ceil(5);
    [first, cycles - first]
}

/// The events of one flow.
pub(crate) fn draw(cycles: usize, shares: Shares, seed: u64) -> Vec<Event> {
    let mut random = Rng::with_seed(seed);
    let mut deck = Deck {
        shares,
        cards: Vec::new(),
    };
    let event = |at: usize| {
        let first = deck.take(None, &mut random);
        let mut kinds = vec![first];
        if at % DOUBLES == DOUBLES - 1 {
            kinds.push(deck.take(Some(first), &mut random));
        }
        let victim = |kind: &Kind| victim(*kind, &mut random);
        let victims = kinds.iter().map(victim).collect();
        Event {
            victims,
            after: random.u64(..=shares.after_max),
            when_busy: random.u8(..4) > 0,
            down: Duration::from_millis(random.u64(..=DOWN_MAX_MS)),
        }
    };
    (0..cycles).map(event).collect()
}

fn victim(kind: Kind, random: &mut Rng) -> Victim {
    match kind {
        Kind::Relay => Victim::Relay(random.usize(..WORKERS)),
        Kind::Inbox => Victim::Inbox(random.usize(..WORKERS)),
        Kind::Postgres => Victim::Postgres,
        Kind::Broker => Victim::Broker,
    }
}

/// Kinds that are dealt until none is left, so that each comes as often as its share says.
struct Deck {
    shares: Shares,
    cards: Vec<Kind>,
}

impl Deck {
    /// The next one that is not `other`.
    fn take(&mut self, other: Option<Kind>, random: &mut Rng) -> Kind {
        loop {
            let fits = |kind: &Kind| Some(*kind) != other;
            if let Some(at) = self.cards.iter().rposition(fits) {
                return self.cards.remove(at);
            }
            let shares = self.shares.kinds.iter();
            let mut fresh: Vec<Kind> = shares
                .flat_map(|(kind, share)| std::iter::repeat_n(*kind, *share))
                .collect();
            random.shuffle(&mut fresh);
            // What is left of the last deck comes first.
            self.cards.splice(..0, fresh);
        }
    }
}

impl Victim {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Relay(_) => Kind::Relay,
            Self::Inbox(_) => Kind::Inbox,
            Self::Postgres => Kind::Postgres,
            Self::Broker => Kind::Broker,
        }
    }
}

impl Kind {
    /// Who is of this kind.
    pub(crate) fn victims(self) -> Vec<Victim> {
        match self {
            Self::Relay => (0..WORKERS).map(Victim::Relay).collect(),
            Self::Inbox => (0..WORKERS).map(Victim::Inbox).collect(),
            Self::Postgres => vec![Victim::Postgres],
            Self::Broker => vec![Victim::Broker],
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(at) => write!(f, "relay {at}"),
            Self::Inbox(at) => write!(f, "inbox {at}"),
            Self::Postgres => f.write_str("the database"),
            Self::Broker => f.write_str("the broker"),
        }
    }
}
