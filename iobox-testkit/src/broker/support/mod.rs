//! What the cases share: messages, publishing them, comparing what came out.

mod message;
mod outcome;
mod place;

use std::time::Duration;

pub use message::{
    ORIGIN, TOPIC, batch_of, keyed, labelled, message, other_origin, payload, topic, with_headers,
};
pub use outcome::{
    Outcome, Record, all_new, is_unavailable, is_unknown, publish, publish_all, publish_one,
};
pub use place::{assert_holds, ids, labels, mended, until_unavailable};

/// How long a case waits for something that should happen soon.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at something that a case waits for.
pub const LOOK: Duration = Duration::from_millis(10);
