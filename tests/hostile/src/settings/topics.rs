//! Settings of the publisher to NATS: the topics that it will publish.

use iobox::{Result, nats::Config};
use iobox_testkit::hostile::{self, Entry, Verdict};

/// Builds a configuration with this pattern of topics.
///
/// # Errors
/// As [`Config`] says.
pub fn nats_pattern(text: &str) -> Result<Config> {
    let config = Config::builder("nats://localhost", "ORDERS");
    config.topics([text]).build()
}

/// Texts for a pattern of topics: those of an inbox, in other words.
#[must_use]
pub fn nats_patterns() -> Vec<Entry> {
    let mut entries = hostile::patterns();
    for entry in &mut entries {
        if let Verdict::Refused { kind, .. } = entry.verdict {
            entry.verdict = Verdict::Refused { kind, says: "" };
        }
    }
    entries
}
