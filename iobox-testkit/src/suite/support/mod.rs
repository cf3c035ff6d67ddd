//! What the cases share: drafts, changes, rows, and an instance that works partitions.

mod change;
mod draft;
mod instance;
mod row;

use std::time::Duration;

pub use change::{
    clear, dead, dead_because, dead_in_doubt, done, duplicate, retry, suspect, unknown,
};
pub use draft::{
    TOPIC, enqueue, enqueue_results, key, key_in, keyed, partitions, plain, run_of, try_enqueue,
};
pub use instance::Instance;
pub use row::{
    aside_count, discard_one, entries, entry, label, labels, matching, purge, replay_one, seqs,
    state, states,
};

/// The time-to-live of the leases that cases take; much longer than any case runs.
pub const TTL: Duration = Duration::from_secs(60);

/// A delay that no case outlives unless it moves the clock.
pub const LATER: Duration = Duration::from_secs(600);

/// How long a first transaction stays open for a second one to meet it.
pub const MOMENT: Duration = Duration::from_millis(200);

/// How long a case waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(30);
