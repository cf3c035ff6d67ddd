//! Limits that are longer than a line.

/// Where G11 ends.
pub(crate) const POISON: &str = "A message that kills its process ends as a dead letter after `max_crashes`, and halts \
    its key; a lease that is lost while it runs alone counts as such a death, since nobody can tell. \
    Until what runs alone has ended its process starts nothing else of that queue, whatever becomes of the lease: a \
    handler that then blocks its thread for ever holds up that queue there. What an owner that \
    died may have executed halts its key when it dies, under `Skip` too. Nobody recorded what that was, so it is guessed \
    from the place in the queue ([0117](decisions/0117-doubt-has-a-bound.md)): of the front of the queue also what was \
    never sent halts its key, and what was sent does not halt it when more messages came in front of it since than an \
    owner has in memory.";

/// Where G10 ends.
pub(crate) const COMPANY: &str = "The tests show that others go on; the share of throughput that is left to them is not measured here. What \
    must run alone waits until all that is in flight in its process has ended, and nothing else of its queue \
    starts there until it has ended: a handler that never ends then holds up all of them.";
