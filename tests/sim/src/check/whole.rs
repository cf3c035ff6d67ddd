//! Checking a whole history: each queue by itself, and the stream between the two halves.

use std::collections::BTreeMap;

use super::{
    intake::Intake,
    known::{Checker, Rules, Violation},
};
use crate::{
    history::{Entry, Lane},
    plan::{Mode, Plan},
};

/// Checks a whole history.
pub(crate) fn check(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    let mut lanes = BTreeMap::new();
    if plan.mode != Mode::Inbox {
        lanes.insert(Lane::Outbox, Checker::new(Rules::of_outbox(plan)));
    }
    if plan.mode != Mode::Outbox {
        lanes.insert(Lane::Ingest, Checker::new(Rules::of_source(plan)));
        for (number, handler) in (0_u8..).zip(&plan.handlers) {
            let rules = Rules::of_handler(plan, handler);
            lanes.insert(Lane::Handler(number), Checker::new(rules));
        }
    }
    let mut intake = Intake::new(plan);
    for entry in entries {
        if entry.lane == Lane::World {
            for lane in lanes.values_mut() {
                lane.see(entry.at, &entry.event)?;
            }
            continue;
        }
        if let Some(lane) = lanes.get_mut(&entry.lane) {
            lane.see(entry.at, &entry.event)?;
        }
        if entry.lane == Lane::Ingest {
            let epoch = lanes.get(&Lane::Ingest).and_then(Checker::first_epoch);
            for row in intake.see(&entry.event, epoch)? {
                if let Some(lane) = lanes.get_mut(&Lane::Handler(row.handler)) {
                    lane.comes(&row);
                }
            }
        }
    }
    intake.finish()?;
    lanes.values().try_for_each(Checker::finish)
}
