//! The relay: moves messages from the outbox to the broker.

mod builder;
mod handle;
mod health;
pub(crate) mod purge;
mod run;

pub use builder::RelayBuilder;
pub use handle::RelayHandle;
pub use health::{Health, HealthReport};
pub use run::Relay;
