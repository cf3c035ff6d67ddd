//! Protocol bugs that the simulator plants to prove that it can see.
//!
//! Without `--cfg iobox_bugs` none can be switched on, and the compiler removes every trace.

use super::{Machine, Settings};

/// A way to get the protocol wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Bug {
    /// Settles are applied whoever holds the partition.
    UnfencedSettle,
    /// A message is settled as done when it is sent.
    SettleBeforeAck,
    /// Messages of one key run side by side.
    NoKeyGate,
    /// Rows below the highest seq that was seen are taken for old.
    AdvancePastLateCommit,
    /// The followers of a failed message that are in memory go on.
    FailedOvertaken,
    /// Rows of a fetch are kept although their key was settled since it was sent.
    UnfilteredFetch,
    /// An unknown outcome counts as success.
    TimeoutIsSuccess,
    /// Attempts stay at zero.
    AttemptsNotCounted,
    /// Partitions of dead instances are never free.
    LeaseNeverReclaimed,
    /// A drain releases partitions while messages are in flight.
    DrainForgets,
    /// A store says that nothing is blocked, so that after a takeover the followers of a message
    /// that is not yet due overtake it.
    BlockedNotChecked,
    /// A store applies a settlement whatever became of the row since.
    SettledTwice,
    /// An unknown outcome counts as a failure, after which a message may die and be passed over.
    TimeoutIsFailure,
    /// A store judges leases by the clocks of those who take them.
    OwnClock,
    /// A store answers a renewal and forgets it.
    RenewalIgnored,
    /// A purge removes what is not settled.
    PurgesUnsettled,
    /// A broker that is not there costs its messages attempts.
    BreakerBurnsAttempts,
    /// A partition is taken over under the epoch that it has.
    TakeoverKeepsEpoch,
    /// A fetch releases what waits for something of its key, whatever became of that.
    FollowersReleasedEarly,
    /// What may have killed a process runs beside others.
    SuspectsInCompany,
    /// The broker is told that a batch is stored before it is.
    AckBeforeCommit,
    /// The mark of a handler is recorded before the transaction of its effects ends.
    MarkOutsideTransaction,
    /// A source is read from where the broker begins, wherever it was stored to.
    PositionIgnored,
    /// Nothing holds a reception up while a handler is subscribed, or the other way round.
    UnlockedSubscription,
    /// A batch is stored whoever has the right to read.
    UnfencedIngest,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::UnfencedSettle,
        Self::SettleBeforeAck,
        Self::NoKeyGate,
        Self::BlockedNotChecked,
        Self::AdvancePastLateCommit,
        Self::FailedOvertaken,
        Self::UnfilteredFetch,
        Self::TimeoutIsSuccess,
        Self::AttemptsNotCounted,
        Self::LeaseNeverReclaimed,
        Self::DrainForgets,
        Self::SettledTwice,
        Self::TimeoutIsFailure,
        Self::OwnClock,
        Self::RenewalIgnored,
        Self::PurgesUnsettled,
        Self::BreakerBurnsAttempts,
        Self::TakeoverKeepsEpoch,
        Self::FollowersReleasedEarly,
        Self::SuspectsInCompany,
        Self::AckBeforeCommit,
        Self::MarkOutsideTransaction,
        Self::PositionIgnored,
        Self::UnlockedSubscription,
        Self::UnfencedIngest,
    ];
}

impl Settings {
    /// Switches a protocol bug on.
    #[cfg(iobox_bugs)]
    pub fn plant(&mut self, bug: Bug) {
        self.bug = Some(bug);
    }

    /// Whether `bug` is planted.
    #[cfg(iobox_bugs)]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Never.
    #[cfg(not(iobox_bugs))]
    #[allow(
        clippy::unused_self,
        reason = "the twin under the cfg looks at the field"
    )]
    pub(crate) const fn has(&self, _: Bug) -> bool {
        false
    }
}

impl Machine {
    /// Whether `bug` is planted.
    #[cfg(iobox_bugs)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.settings.has(bug)
    }

    /// Never.
    #[cfg(not(iobox_bugs))]
    #[allow(
        clippy::unused_self,
        reason = "the twin under the cfg looks at the settings"
    )]
    pub(super) const fn has(&self, _: Bug) -> bool {
        false
    }
}
