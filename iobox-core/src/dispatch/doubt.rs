//! Doubt: which messages of a partition the owner that died may have executed.
//!
//! Nobody recorded what it had in flight. It had taken those from the front of the partition, so
//! they are among the first that its heir fetches, or below those and not due yet, or behind one
//! that halts. The heir takes the highest `seq` of its first messages as the bound: what is at or
//! below it is in doubt for as long as the partition is held, and a failure of such a message says
//! nothing about the execution before.

use crate::store::Seq;

/// The doubt about the messages of one partition.
#[derive(Debug, Default)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Doubt {
    /// How many more messages may raise the bound.
    left: usize,
    bound: Option<Seq>,
    /// Whether one in doubt was dropped without a verdict, or hides others.
    owed: bool,
}

impl Doubt {
    /// The doubt after an owner that died with at most `rows` messages in memory. Twice as many may
    /// raise the bound: what the dead one did not hold may be in front now, since it came due or an
    /// operator brought it back.
    pub(super) fn after_death(rows: usize) -> Self {
        Self {
            left: rows.saturating_mul(2),
            ..Self::default()
        }
    }

    /// Sees a message that was fetched. With `cautious` it is in doubt in any case. Returns whether
    /// it is.
    pub(super) fn sees(&mut self, seq: Seq, cautious: bool) -> bool {
        if self.bound < Some(seq) && (cautious || self.left > 0) {
            self.left = self.left.saturating_sub(1);
            self.bound = Some(seq);
        }
        self.bound >= Some(seq)
    }

    /// Notes that a message in doubt is dropped from memory without a verdict, or hides others.
    pub(super) const fn owe(&mut self) {
        self.owed = true;
    }

    /// Whether the next owner has to doubt too: a message was dropped, or hidden, that nothing else tells
    /// about, or with `more` to fetch there may be some that were not even seen.
    pub(super) const fn is_left(&self, more: bool) -> bool {
        self.owed || (more && self.left > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_death_nothing_is_in_doubt() {
        let mut doubt = Doubt::default();
        assert!(!doubt.sees(Seq(1), false));
        assert!(!doubt.is_left(true));
    }

    #[test]
    fn twice_as_many_as_the_dead_owner_held_raise_the_bound_and_what_comes_below_is_free() {
        let mut doubt = Doubt::after_death(2);
        let mut sees = |seq| doubt.sees(Seq(seq), false);
        assert!(sees(10) && sees(3) && sees(10) && sees(20) && sees(30) && sees(40));
        assert!(!sees(50), "the fifth");
        assert!(sees(4) && sees(40), "below the bound it stays");
        assert!(!sees(41));
        assert!(!doubt.is_left(true));
    }

    #[test]
    fn with_caution_the_bound_goes_on() {
        let mut doubt = Doubt::after_death(0);
        assert!(doubt.sees(Seq(7), true) && doubt.sees(Seq(7), false));
        assert!(!doubt.sees(Seq(8), false));
    }

    #[test]
    fn what_was_dropped_is_left_to_the_next_owner_and_so_is_what_was_not_fetched() {
        let mut doubt = Doubt::after_death(1);
        assert!(doubt.is_left(true) && !doubt.is_left(false));
        doubt.sees(Seq(1), false);
        doubt.sees(Seq(2), false);
        assert!(!doubt.is_left(true));
        doubt.owe();
        assert!(doubt.is_left(false));
    }
}
