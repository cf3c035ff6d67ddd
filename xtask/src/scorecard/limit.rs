//! Limits that are longer than a line.

/// Where G11 ends.
pub(crate) const POISON: &str = "A message that kills its process ends as a dead letter after `max_crashes`, and halts \
    its key; a lease that is lost while it runs alone counts as such a death, since nobody can tell. What an owner that \
    died may have executed halts its key when it dies, under `Skip` too; nobody recorded what that was, so it is taken \
    from the place in the queue ([0117](decisions/0117-doubt-has-a-bound.md)), which is wrong when more messages than an \
    owner has in memory came in front of one that was in flight.";
