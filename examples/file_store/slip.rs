//! The slip: a mistake that an author of a store could make, for the test that the suite sees it.

/// What the store does wrong. Each stands at the one place that a guarantee hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "the example makes no mistakes, its test makes all of them"
)]
pub(crate) enum Slip {
    /// Nothing.
    None,
    /// A settlement is taken whatever the epoch.
    NoFence,
    /// A partition keeps its epoch when it changes hands.
    SameEpoch,
    /// A message runs although an earlier one of its key is retrying, waiting, or dead and halting.
    NoOrder,
    /// A settlement is taken whatever the revision of the row.
    NoRevision,
    /// What is enqueued is there before the COMMIT.
    NoTransaction,
    /// The id of a message is forgotten with it.
    ForgetsIds,
}
