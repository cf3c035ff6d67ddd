//! The fault: what a cable does wrong.

use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// What clients say.
    ToServer,
    /// What the server says.
    ToClient,
}

/// Which connections a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that are open and those that will be.
    All,
    /// Those that are open when the fault begins. Who connects anew is not affected.
    Open,
    /// Those that are opened later.
    New,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// As when the other side closed it.
    Close,
    /// As when the other side knows nothing of it: RST.
    Reset,
}

/// What a cable does wrong, from [`Cable::apply`](super::Cable::apply) until it is
/// [mended](super::Cable::mend).
///
/// Faults of different kinds and ways add up; a second one of the same kind and way replaces the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Everything arrives so much later. The order stays, and the rate does.
    Latency {
        /// Which way.
        way: Way,
        /// How much later.
        by: Duration,
    },
    /// What is said waits, and arrives when the cable is mended, also when the one who said it is gone
    /// by then.
    Hold {
        /// Which way.
        way: Way,
        /// On which connections.
        reach: Reach,
    },
    /// What is said vanishes, the end of the connection included: the other side goes on to wait.
    ///
    /// A connection that lost something stays silent that way for good: bytes behind a gap would be a
    /// message that nobody sent.
    Blackhole {
        /// Which way.
        way: Way,
        /// On which connections.
        reach: Reach,
    },
    /// Everything arrives, a few bytes at a time.
    Drip {
        /// Which way.
        way: Way,
        /// How many bytes at a time; 0 counts as 1.
        bytes: usize,
        /// How long from one to the next.
        every: Duration,
    },
    /// Some connections end when so much more has passed on them; what comes behind never arrives.
    Break {
        /// Which way bytes count.
        way: Way,
        /// How many bytes still pass on each. With 0 a request arrives and its reply does not, or the
        /// request does not arrive.
        after: u64,
        /// How many connections end, those first that come first to the point; the others are whole.
        connections: u32,
        /// Which connections count.
        reach: Reach,
        /// How they end, for both sides.
        how: Ending,
    },
    /// Every connection that is open is reset, for both sides. Who connects anew is not affected.
    Reset,
}

impl Fault {
    /// The reply to what comes next is lost: the next connection on which the server says something
    /// ends instead.
    pub const LOST_REPLY: Self = Self::Break {
        way: Way::ToClient,
        after: 0,
        connections: 1,
        reach: Reach::All,
        how: Ending::Close,
    };
}
