//! Limits that are longer than a line, since they tell of what is known to be broken.

/// Where G11 ends.
pub(crate) const POISON: &str = "A message that kills its process ends as a dead letter after `max_crashes`, and halts \
    its key; a lease that is lost again and again while it runs alone counts as such a death. Known to be broken: in 7 \
    of 2,000,000 schedules a message that `Skip` made dead without halting its key had been delivered. In the one that \
    was read so far its owner died with it in flight, and a replay and others came in front of it.";
