//! The source: streams of Redis that feed an inbox.
//!
//! | file | holds |
//! |---|---|
//! | `builder.rs`, `whole.rs`, `probe.rs` | the source |
//! | `stream.rs`, `entry.rs`, `arrival.rs` | what is read, and the deliveries that it becomes |
//! | `look.rs`, `place.rs`, `position.rs` | how far each stream is read, and whether it is still the same |
//! | `line.rs`, `command.rs` | a reader's own connection, and what it asks |
//! | `gauge.rs`, `carry.rs` | how much to ask for, and what has no room yet |
//! | `ordered.rs`; `unordered.rs`, `consumer.rs` | the two readers |

mod arrival;
mod builder;
mod carry;
mod command;
mod consumer;
mod entry;
mod gauge;
mod line;
mod look;
mod ordered;
mod place;
mod position;
mod probe;
mod stream;
mod unordered;
mod whole;

pub use builder::RedisSourceBuilder;
pub use whole::RedisSource;
