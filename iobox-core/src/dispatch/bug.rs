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
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
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
    ];
}

impl Settings {
    /// Switches a protocol bug on.
    #[cfg(iobox_bugs)]
    pub fn plant(&mut self, bug: Bug) {
        self.bug = Some(bug);
    }
}

impl Machine {
    /// Whether `bug` is planted.
    #[cfg(iobox_bugs)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.settings.bug == Some(bug)
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
