//! Reading: a stream of JetStream as a source of an inbox.
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `names.rs`, `filter.rs` | settings, the names of consumers, which entries are read |
//! | `whole.rs`, `check.rs`, `opening.rs` | the source: whether a stream can be read, and a new reader of it |
//! | `consumers.rs` | what is asked of the broker about consumers |
//! | `reader.rs`, `pulls.rs`, `course.rs` | one reader: its batches, its requests, and how far it is |
//! | `arrival.rs`, `place.rs`, `mark.rs` | an entry as it came, where it stands, and as a position |
//! | `decoding.rs`, `clock.rs` | an entry as a delivery, and the time of day |
//! | `tell.rs` | acks |
//! | `rewound.rs` | what is told of a stream whose numbers begin anew |
//! | `entries.rs`, `screen.rs` | an entry that would end the connection, and how it is left out |

mod arrival;
mod check;
mod clock;
mod config;
mod consumers;
mod course;
mod decoding;
mod entries;
mod filter;
mod mark;
mod names;
mod opening;
mod place;
mod pulls;
mod reader;
mod rewound;
mod screen;
mod tell;
mod whole;

pub use config::{SourceConfig, SourceConfigBuilder};
pub use whole::JetStreamSource;
