//! The check: whether a stream can be read, and what to change when it cannot.

use async_nats::jetstream::stream::{Info, RetentionPolicy};
use iobox_core::source::Order;

use super::{config::SourceConfig, consumers::Consumers, filter::Filter};
use crate::{
    error::Refusal,
    probe::{check_server, numbers},
    session::Session,
};

/// Refuses a server or a stream that cannot be read.
pub(super) async fn check(
    session: &Session,
    info: &Info,
    config: &SourceConfig,
) -> Result<(), Refusal> {
    let version = session.server_version();
    check_server(&version)?;
    let filter = Filter::of(config);
    filter.check(&numbers(&version), &info.config)?;
    if needs_two(info, config) && info.config.max_consumers == 1 {
        return Err(Refusal::invalid(format!(
            "stream {} takes one consumer, and a reader makes its own before it deletes the last \
             one's: raise its max_consumers to 2 or more",
            config.stream
        )));
    }
    let shared = config.order == Order::None;
    if info.config.retention == RetentionPolicy::WorkQueue && filter.is_total(&info.config) {
        let consumers = Consumers {
            session,
            stream: &config.stream,
        };
        let names = consumers.names().await?;
        let own = |name: &&String| {
            config.names.turn_of(name).is_some() && !shared || **name == config.names.shared()
        };
        if let Some(other) = names.iter().find(|name| !own(name)) {
            return Err(occupied(config, other));
        }
    }
    Ok(())
}

/// A work queue that somebody else reads.
pub(super) fn occupied(config: &SourceConfig, other: &str) -> Refusal {
    let whose = if config.names.has(other) {
        "of this source as it was read in another order: delete that"
    } else {
        "not of this source: delete that, or set topics to what it does not read"
    };
    Refusal::invalid(format!(
        "stream {} is a work queue, which one reader alone can have, and its consumer {other} is {whose}",
        config.stream
    ))
}

fn needs_two(info: &Info, config: &SourceConfig) -> bool {
    config.order == Order::Stream && info.config.retention != RetentionPolicy::WorkQueue
}
