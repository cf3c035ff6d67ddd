//! What is told of a stream whose numbers begin anew.

use iobox_core::inbox::SourceName;
use metrics::counter;

/// Tells that a stream `what`, so that it is read from its beginning or with numbers that were read
/// before.
pub(super) fn rewound(source: &SourceName, stream: &str, what: &str) {
    tracing::error!(%source, stream, "the stream {what}: it is read from its beginning");
    counter!("iobox_ingest_rewound_total", "source" => source.to_string()).increment(1);
}
