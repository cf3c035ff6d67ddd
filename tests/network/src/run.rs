//! A run: a script, under load, until everything has arrived.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{check::check, driver::Net, ledger::Sent, load::Load, script::Step, table::SCRIPTS};

/// How long everything may take to arrive once the network is whole: a lease that has to end, the longest
/// backoff, the longest pause before somebody connects again, and the work, on a machine that does other
/// things too.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a state is looked at that nothing announces.
const POLL: Duration = Duration::from_millis(20);
/// How many messages have gone their way before the script begins.
const WARM: usize = 12;

/// Runs the script of this name.
///
/// # Panics
/// When there is no such script, and when something does not hold.
pub async fn run<N: Net>(name: &str) {
    let script = SCRIPTS.iter().find(|script| script.name == name);
    let script = script.unwrap_or_else(|| panic!("there is no script {name}"));
    let net = N::start().await;
    let load = Load::start(net.application());
    until(PATIENCE, "the first messages arrive", async || {
        net.handled().await >= WARM
    })
    .await;

    let gate = Arc::clone(net.gate());
    let before = gate.cable.touched() + u64::try_from(gate.cable.connections()).unwrap_or(0);
    for step in script.steps {
        match step {
            Step::At(event, calls, faults) => gate.meet(*event, *calls, faults).await,
            Step::Break(faults) => gate.apply(faults),
            Step::Cut => gate.cable.cut().await,
            Step::Wait(time) => sleep(*time).await,
            Step::Mend => gate.cable.mend(),
        }
    }
    let after = gate.cable.touched() + u64::try_from(gate.cable.connections()).unwrap_or(0);
    gate.cable.mend();
    let mended = Instant::now();
    assert!(after > before, "{name}: nothing was broken");

    let written = load.stop().await;
    while let Some(left) = net.under_way().await {
        let took = mended.elapsed();
        assert!(took < DRAIN_MAX, "{name}: after {took:.1?} {left}");
        sleep(POLL).await;
    }
    let took = mended.elapsed();
    let seen = net.end().await;
    let copies = seen.log.len().saturating_sub(seen.outbox.len());
    let unknown: usize = seen.sends.values().map(Sent::unknown).sum();
    println!(
        "{name}: {} messages, {unknown} unknown, {copies} copies in the log, drained {took:.1?} after \
         the end",
        seen.outbox.len()
    );
    check(script, &written, &seen);
}

async fn until(limit: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(POLL).await;
    }
}
