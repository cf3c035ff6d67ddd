//! The guarantee of fencing.

use super::guarantee::Guarantee;

/// G5.
pub(super) const FENCING: Guarantee = Guarantee {
    id: "G5",
    name: "fencing",
    sentence: "A settle, a release or a batch under an older epoch changes nothing and is told that the lease is \
               lost.",
    needs: "Nothing.",
    tests: &[
        (
            "iobox-testkit/src/suite/fence.rs",
            "an_older_epoch_settles_nothing",
        ),
        (
            "iobox-testkit/src/suite/fence.rs",
            "a_racing_takeover_splits_settlements_cleanly",
        ),
        (
            "iobox-testkit/src/suite/lease.rs",
            "racing_instances_never_share_an_epoch",
        ),
        (
            "iobox-testkit/src/suite/inbox/takeover.rs",
            "an_ingest_of_an_older_epoch_stores_nothing",
        ),
        (
            "tests/e2e/tests/promotion.rs",
            "a_claim_from_before_settles_nothing",
        ),
    ],
    kills: &[],
    limit: LIMIT,
};

/// Where G5 ends.
const LIMIT: &str = "A send that is already under way when the lease is lost cannot be called back; it is a copy. A handler that \
    is under way then runs to its end or its timeout, beside the next attempt elsewhere; what it does in the \
    store's transaction is refused. A Postgres that comes back without what it had committed gives seqs and \
    epochs again; it is noticed by its new timeline, and without one not at all: see \
    [restore](operations.md#backup-restore-upgrade).";
