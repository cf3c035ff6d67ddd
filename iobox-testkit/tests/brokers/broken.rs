//! Broken publishers: the cases that must see each bug see it.

use std::panic::catch_unwind;

use iobox_testkit::{broker, suite};

use crate::far::{BUGS, Bug, Linked};

/// One test for each bug and each case that must fail with it.
macro_rules! caught {
    ($($test:ident: $number:literal $bug:ident by $noun:ident::$case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(BUGS[$number], Bug::$bug);
                let case = || suite::run(broker::$noun::$case::<Linked<$number>>());
                assert!(catch_unwind(case).is_err(), "the case does not see the bug");
            }
        )*
    };
}

caught! {
    shifts_indexes_1: 1 ShiftsIndexes by refuse::a_refused_message_leaves_its_neighbours_alone;
    forgets_the_last_1: 2 ForgetsTheLast by publish::a_batch_arrives_whole;
    forgets_the_last_2: 2 ForgetsTheLast by publish::a_confirmed_message_is_kept;
    refuses_neighbours_1: 3 RefusesNeighbours by refuse::a_refused_message_leaves_its_neighbours_alone;
    refuses_neighbours_2: 3 RefusesNeighbours by payload::a_payload_too_large_leaves_its_neighbours_alone;
    sends_without_a_connection_1: 4 SendsWithoutAConnection by outage::without_a_connection_nothing_is_sent;
    takes_a_lost_reply_for_a_refusal_1: 5 TakesALostReplyForARefusal by outage::a_lost_reply_is_unknown;
    takes_silence_for_consent_1: 6 TakesSilenceForConsent by outage::a_lost_reply_is_unknown;
    takes_silence_for_consent_2: 6 TakesSilenceForConsent by outage::without_a_connection_nothing_is_sent;
    reports_nothing_of_refusals_1: 7 ReportsNothingOfRefusals by refuse::a_refusal_is_never_unknown;
    reports_nothing_of_refusals_2: 7 ReportsNothingOfRefusals by payload::a_payload_too_large_is_refused_for_good;
    hides_duplicates_1: 8 HidesDuplicates by duplicate::a_message_published_twice;
    hides_duplicates_2: 8 HidesDuplicates by duplicate::a_message_published_by_another_before;
    forgets_the_origin_1: 9 ForgetsTheOrigin by text::one_id_in_two_origins_is_two_messages;
    lowers_headers_1: 10 LowersHeaders by headers::names_keep_their_case;
    sorts_headers_1: 11 SortsHeaders by headers::headers_keep_their_order;
    invents_a_content_type_1: 12 InventsAContentType by headers::the_content_type_arrives;
    lowers_topics_1: 13 LowersTopics by text::topics_that_look_alike_stay_apart;
    invents_keys_1: 14 InventsKeys by text::no_key_arrives_as_none;
    ends_at_zero_1: 15 EndsAtZero by payload::every_byte_arrives;
    breaks_when_dropped_1: 16 BreaksWhenDropped by cancel::a_dropped_publish_leaves_the_publisher_usable;
    writes_probes_1: 17 WritesProbes by probe::a_probe_writes_nothing;
    boasts_1: 18 Boasts by probe::a_probe_tells_the_durability;
    shows_payloads_1: 19 ShowsPayloads by payload::a_refusal_shows_no_content;
}
