//! The conformance suites, run against the Redis publisher and source and a real server: as its
//! administrator, and as a user that may do no more than the crate's page says.

#[path = "../redis/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    clippy::disallowed_methods,
    reason = "the other tests use the rest"
)]
mod support;

mod place;
mod publishing;
mod reading;
