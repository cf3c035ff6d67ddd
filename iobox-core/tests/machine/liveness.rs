//! Liveness: whatever happened, once store and broker answer, every message comes to its end; and at
//! every moment before, the rules hold that `watch.rs` looks at.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    plan::{Plan, plan},
    world::World,
};

fn run(plan: Plan) {
    let mut world = World::new(plan);
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
        run(plan);
    }
}
