//! The relay: moves messages from the outbox to the broker.

mod builder;
mod health;
mod purge;
mod run;

pub use builder::RelayBuilder;
pub use health::{Health, HealthReport};
pub use run::Relay;
