//! Proves that each fault has the effect that it says, and that a wrapper without faults is what it wraps.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of faults wait on the machine's clock"
)]

mod calls;
mod crashes;
mod handlers;
mod messages;
mod wrapped;
