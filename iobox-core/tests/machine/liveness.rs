//! Liveness: whatever happened, once store and broker answer, every message comes to its end; and at
//! every moment before, the rules hold that `watch.rs` looks at.

use std::time::Duration;

use iobox_core::dispatch::Settings;
use proptest::prelude::*;

use crate::{
    plan::{Plan, plan},
    world::World,
};

fn run(plan: Plan, mut settings: Settings) {
    settings.settles = 1 + usize::try_from(plan.seed % 3).unwrap();
    let mut world = World::new(plan, settings);
    let over = world.run(Duration::from_secs(300));
    assert!(over, "left: {:#?}", world.left());
    world.check_end();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_message_comes_to_its_end(plan in plan()) {
        let settings = plan.settings();
        run(plan, settings);
    }
}

/// The proof that the runs can see: each bug of the machine fails one of them.
#[cfg(iobox_bugs)]
#[test]
fn every_planted_bug_of_the_machine_is_found() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use iobox_core::dispatch::Bug;
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    for bug in [
        Bug::SettleBeforeAck,
        Bug::NoKeyGate,
        Bug::AdvancePastLateCommit,
        Bug::FailedOvertaken,
        Bug::UnfilteredFetch,
        Bug::TimeoutIsSuccess,
        Bug::AttemptsNotCounted,
        Bug::DrainForgets,
    ] {
        let mut runner = TestRunner::deterministic();
        let found = (0..2_000).position(|_| {
            let plan = plan().new_tree(&mut runner).unwrap().current();
            let mut settings = plan.settings();
            settings.plant(bug);
            catch_unwind(AssertUnwindSafe(|| run(plan, settings))).is_err()
        });
        eprintln!("{bug:?} found by run {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
