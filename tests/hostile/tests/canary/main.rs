//! The hunt for planted secrets: they stand in every place that must stay secret, everything that is
//! shown is captured, and nothing of it may hold one.
//!
//! Captured are the log of every target at TRACE, the drivers' too; metrics with their labels; panics;
//! errors with their sources, and `Debug` of everything public that holds something. Planted are passwords
//! and tokens (raw and percent-encoded), payloads, keys and the values of headers.
//!
//! One thing is let through, because the page of iobox-nats tells people to keep that log at `debug`:
//! async-nats writes the headers of messages that are sent and the whole of those that are read, at TRACE.
//! Credentials it must hide there too.

#![allow(
    clippy::disallowed_methods,
    reason = "the hunt runs on the clock and the ids of the machine"
)]

mod brokers;
mod capture;
mod inbox;
mod plant;
mod public;
mod shown;
mod stores;

use capture::Capture;

/// All of it is one test, since the log of a process has one reader.
#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let capture = Capture::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        shown::look(&capture).await;
        stores::memory(&capture).await;
        stores::sqlite(&capture).await;
        stores::postgres(&capture).await;
        inbox::memory(&capture).await;
        inbox::sqlite(&capture).await;
        brokers::nats(&capture).await;
        brokers::redis(&capture).await;
    });
    drop(runtime);
    capture.judge();
}
