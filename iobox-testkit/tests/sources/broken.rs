//! Broken sources: the cases that must see each bug see it.

use std::{future::Future, panic::catch_unwind, time::Duration};

use iobox_testkit::{source, suite};
use tokio::time::timeout;

use crate::far::{BUGS, Bug, Linked};

/// How long a case may take that the sound source passes in a moment: a case that waits for what
/// never comes has seen the bug.
const STUCK_AFTER: Duration = Duration::from_secs(8);

async fn seen(case: impl Future<Output = ()>) {
    let ended = timeout(STUCK_AFTER, case).await;
    assert!(ended.is_ok(), "the case waits for what never comes");
}

/// One test for each bug and each case that must fail with it.
macro_rules! caught {
    ($($test:ident: $number:literal $bug:ident by $noun:ident::$case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(BUGS[$number], Bug::$bug);
                let case = || suite::run(seen(source::$noun::$case::<Linked<$number>>()));
                assert!(catch_unwind(case).is_err(), "the case does not see the bug");
            }
        )*
    };
}

caught! {
    trusts_the_broker_1: 1 TrustsTheBroker by resume::nothing_at_or_below_the_position_comes;
    begins_at_the_position_1: 2 BeginsAtThePosition by resume::a_reader_begins_behind_its_position;
    skips_one_1: 3 SkipsOne by resume::a_reader_begins_behind_its_position;
    takes_read_for_acked_1: 4 TakesReadForAcked by resume::what_was_not_acked_comes_again;
    ignores_the_room_1: 5 IgnoresTheRoom by read::a_batch_stays_within_its_room;
    ignores_the_bytes_1: 6 IgnoresTheBytes by read::a_batch_stays_within_its_bytes;
    reverses_batches_1: 7 ReversesBatches by read::messages_come_in_the_order_of_the_stream;
    drops_keys_1: 8 DropsKeys by read::a_message_comes_back_as_it_was_published;
    lowers_headers_1: 9 LowersHeaders by read::a_message_comes_back_as_it_was_published;
    fails_at_the_unstorable_1: 10 FailsAtTheUnstorable by refuse::a_payload_beyond_the_limits_is_refused;
    hides_the_unstorable_1: 11 HidesTheUnstorable by refuse::a_payload_beyond_the_limits_is_refused;
    keeps_the_position_at_a_refusal_1: 12 KeepsThePositionAtARefusal by refuse::a_refusal_is_passed_by;
    invents_ids_1: 13 InventsIds by refuse::a_foreign_message_has_an_id_of_its_own;
    hides_losses_1: 14 HidesLosses by refuse::removed_entries_are_told;
    counts_read_as_lost_1: 15 CountsReadAsLost by refuse::removing_what_was_read_loses_nothing;
    trusts_old_positions_1: 16 TrustsOldPositions by refuse::a_stream_made_anew_is_read_from_its_beginning;
    waits_for_ever_1: 17 WaitsForEver by outage::a_cut_ends_the_reader;
    waits_to_the_end_1: 18 WaitsToTheEnd by read::a_waiting_reader_gets_what_is_published;
    takes_away_1: 19 TakesAway by resume::a_stale_reader_takes_nothing_away;
    repeats_behind_the_position_1: 20 RepeatsBehindThePosition by outage::a_cut_ends_the_reader;
    calls_outages_invalid_1: 21 CallsOutagesInvalid by outage::an_unreachable_broker_is_unavailable;
}
