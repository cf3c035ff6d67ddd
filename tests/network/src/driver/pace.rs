//! The pace: timeouts so short that an outage costs little of a test's time.

use std::time::Duration;

use iobox::{
    dispatch::{BreakerPolicy, RetryPolicy},
    inbox::{HandlerPolicy, InboxBuilder},
    relay::RelayBuilder,
    store::Receive,
};

/// The most messages in flight.
pub(crate) const IN_FLIGHT: usize = 64;
/// The most messages of one call.
pub(crate) const BATCH: usize = 32;
/// How long a lease lasts.
pub(crate) const TTL: Duration = Duration::from_secs(1);
/// How long a publish may take.
pub(crate) const PUBLISH: Duration = Duration::from_millis(350);
/// How long the adapter waits for an answer; below what the relay waits for it.
pub(crate) const ANSWER: Duration = Duration::from_millis(300);
/// How long connecting may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(250);
const POLL: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

fn retry() -> RetryPolicy {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(200));
    RetryPolicy::new(base, cap, 20).expect("a policy")
}

/// Sets a relay.
pub(crate) fn relay(builder: RelayBuilder) -> RelayBuilder {
    let breaker = BreakerPolicy::new(5, Duration::from_millis(100)).expect("a policy");
    builder
        .batch(BATCH)
        .max_in_flight(IN_FLIGHT)
        .time_to_live(TTL)
        .publish_timeout(PUBLISH)
        .settle_timeout(SETTLE)
        .poll(POLL[0], POLL[1])
        .retry(retry())
        .breaker(breaker)
        .grace(TTL)
}

/// Sets an inbox.
pub(crate) fn inbox<S: Receive>(builder: InboxBuilder<S>) -> InboxBuilder<S> {
    builder.time_to_live(TTL).poll(POLL[0], POLL[1]).grace(TTL)
}

/// Sets a handler.
pub(crate) fn handler() -> HandlerPolicy {
    HandlerPolicy::new()
        .timeout(TTL * 2)
        .concurrency(8)
        .retry(retry())
}
