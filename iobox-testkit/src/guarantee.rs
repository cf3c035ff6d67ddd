//! The guarantee: what a reader of the documentation may rely on, and which cases stand for it.

use std::fmt;

use crate::suite::Case;

/// A guarantee of iobox, by the number under which `docs/conformance.md` states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Guarantee {
    /// A message exists if and only if its transaction committed.
    G1,
    /// Every committed message is published at least once, or is a dead letter, complete.
    G2,
    /// The messages of a key come in the order of their commits.
    G3,
    /// With a broker that knows what it has, a key is in order in the raw log too.
    G4,
    /// What carries an older epoch changes nothing.
    G5,
    /// Safety depends on no clock; efficiency on that of the database.
    G6,
    /// Copies are bounded by what was ambiguous, and none come without a fault.
    G7,
    /// A message id takes effect once for each handler, within the horizon.
    G8,
    /// The effects of a transactional handler and its mark commit together.
    G9,
    /// A stuck or failing key does not hold up other keys.
    G10,
    /// A message that can never succeed ends as a dead letter; an ambiguous one never does by itself.
    G11,
    /// A drain takes nothing new and gives back what it holds.
    G12,
    /// Memory is bounded.
    G13,
    /// After the last fault everything is worked off.
    G14,
    /// What is counted and shown is what is stored.
    G15,
    /// Programs of neighbouring versions run together, and an older one refuses what it cannot read.
    G16,
}

use Guarantee::{G1, G2, G3, G4, G5, G6, G7, G8, G9, G10, G11, G12, G13, G14, G15, G16};

impl Guarantee {
    /// Every guarantee, in order.
    pub const ALL: [Self; 16] = [
        G1, G2, G3, G4, G5, G6, G7, G8, G9, G10, G11, G12, G13, G14, G15, G16,
    ];
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Case {
    /// The guarantees that would not hold of the adapter if the case failed.
    #[must_use]
    pub fn guarantees(&self) -> &'static [Guarantee] {
        by_name(self.name).unwrap_or_else(|| by_noun(self.noun))
    }
}

/// What the cases of a file stand for; a noun that several suites have stands for the same in each.
fn by_noun(noun: &str) -> &'static [Guarantee] {
    match noun {
        // Stores.
        "open" => &[G16],
        "lease" => &[G5, G14],
        "share" => &[G10, G14],
        "handover" => &[G12, G14],
        "fence" => &[G5],
        "fetch" => &[G2, G13],
        "blocked" => &[G3, G10],
        "waiting" => &[G2, G10],
        "late" => &[G1, G2],
        "settle" => &[G2, G5],
        "retry" => &[G2, G6],
        "halt" => &[G3, G11],
        "suspect" => &[G11],
        "dead" => &[G2, G11],
        "replay" => &[G2, G15],
        "discard" => &[G11, G15],
        "purge" => &[G2],
        "enqueue" => &[G1, G13],
        "race" | "program" => &[G2, G3, G5],
        "corrupt" => &[G11],
        "list" | "stats" => &[G15],
        "wake" => &[G14],
        // Inboxes.
        "receive" => &[G8],
        "subscribe" | "ingest" => &[G2, G8],
        "transact" => &[G5, G9],
        "handle" => &[G2, G11],
        "source" => &[G2, G14],
        "takeover" => &[G5, G8],
        "observe" => &[G15],
        "rehearse" => &[G9],
        // Publishers and sources.
        "publish" | "headers" | "concurrent" => &[G2],
        "payload" => &[G2, G11],
        "text" => &[G2, G7],
        "refuse" => &[G11],
        "probe" => &[G2, G15],
        "read" => &[G2, G3],
        "resume" => &[G2, G8],
        // Of several suites.
        "order" => &[G3],
        "duplicate" => &[G7],
        "hostile" => &[G2, G11],
        "cancel" | "polled" => &[G1, G2],
        "outage" => &[G2, G7, G14],
        _ => &[],
    }
}

/// What a case stands for that differs from the rest of its file.
fn by_name(name: &str) -> Option<&'static [Guarantee]> {
    Some(match name {
        "a_renewal_extends_the_life"
        | "an_instance_that_does_not_renew_loses_its_partitions"
        | "an_expired_instance_acquires_nothing" => &[G5, G6, G14],
        "a_message_stays_for_its_retention" => &[G2, G6],
        "a_fetch_of_nothing_sets_aside" => &[G10, G13],
        "an_unknown_outcome_is_remembered_for_ever" => &[G2, G11],
        "repetitions_do_not_change_the_order" => &[G3, G4, G7],
        "racing_duplicates_are_written_once" => &[G1, G7],
        "a_dropped_publish_leaves_the_publisher_usable"
        | "a_dropped_probe_leaves_the_publisher_usable" => &[G14],
        "a_dropped_publish_leaves_whole_messages" | "a_dropped_publish_leaves_another_alone" => {
            &[G2]
        }
        "deliveries_keep_their_order" => &[G3],
        "a_delivery_that_breaks_a_bound_stores_nothing" => &[G11, G13],
        "a_reception_in_a_transaction_follows_it" => &[G1, G8],
        "one_handler_fails_and_the_others_go_on" => &[G10],
        "a_panic_is_a_failed_attempt" => &[G10, G11],
        "the_order_of_a_key_holds_for_each_handler" => &[G3],
        "a_dead_message_halts_its_key_for_its_handler_alone" => &[G3, G10, G11],
        "a_rolling_deploy_gives_each_handler_its_messages" => &[G16],
        "a_handler_commits_with_what_it_enqueues" => &[G1, G9],
        "a_slow_handler_outlasts_its_lease" => &[G5, G9],
        "an_inbox_that_is_behind_stops_reading" => &[G13],
        "a_stopped_inbox_gives_its_right_back" => &[G12],
        "a_batch_stays_within_its_room" | "a_batch_stays_within_its_bytes" => &[G13],
        "inboxes_outlive_kills" => &[G2, G8, G14],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker, source, suite};

    fn cases() -> impl Iterator<Item = &'static Case> {
        let stores = suite::cases().iter().chain(suite::inbox::cases());
        stores.chain(broker::cases()).chain(source::cases())
    }

    #[test]
    fn every_case_stands_for_a_guarantee() {
        for case in cases() {
            assert!(!case.guarantees().is_empty(), "{case:?}");
        }
    }

    #[test]
    fn every_guarantee_has_cases() {
        for guarantee in Guarantee::ALL {
            let found = cases().any(|case| case.guarantees().contains(&guarantee));
            assert!(found, "nothing stands for {guarantee}");
        }
    }

    #[test]
    fn the_suites_have_more_than_120_cases() {
        let count = cases().count();
        println!("{count} named cases");
        assert!(count >= 120, "{count}");
    }
}
