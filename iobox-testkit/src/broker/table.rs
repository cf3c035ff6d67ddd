//! The table of cases: what `broker_suite!` runs, noun by noun.

/// Hands the table to the arm `$mode` of [`__broker_tests`](crate::__broker_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __broker_table {
    ($($mode:tt)*) => {
        $crate::__broker_tests! {
            $($mode)*;
            publish {
                a_message_arrives
                a_new_place_is_empty
                a_batch_arrives_whole
                a_large_batch_arrives_whole
                an_empty_batch_does_nothing
                a_return_leaves_nothing_unreported
                a_confirmed_message_is_kept
                two_publishers_add_to_one_place
                a_batch_may_mix_topics
            }
            payload {
                an_empty_payload_arrives
                every_byte_arrives
                the_largest_payload_arrives
                a_batch_of_large_payloads_arrives
                a_payload_too_large_is_refused_for_good
                a_payload_too_large_leaves_its_neighbours_alone
                a_refusal_shows_no_content
            }
            refuse {
                a_refused_message_leaves_its_neighbours_alone
                a_refusal_is_never_unknown
                a_publisher_outlives_refusals
            }
            headers {
                no_headers_arrive_as_none
                names_keep_their_case
                every_legal_name_arrives
                every_legal_value_arrives
                the_most_headers_arrive
                the_longest_headers_arrive
                headers_belong_to_their_message
                headers_keep_their_order
                the_trace_context_arrives
                the_content_type_arrives
            }
            text {
                ids_of_any_script_arrive
                keys_of_any_script_arrive
                hostile_messages_arrive
                no_key_arrives_as_none
                the_longest_texts_arrive
                every_legal_topic_arrives
                topics_that_look_alike_stay_apart
                one_id_in_two_origins_is_two_messages
                one_payload_under_two_ids_is_two_messages
            }
            duplicate {
                a_message_published_twice
                a_batch_published_in_part_before
                a_message_published_by_another_before
                another_payload_under_a_known_id
                repetitions_do_not_change_the_order
            }
            order {
                successive_publishes_keep_their_order
                successive_batches_keep_the_order_of_a_key
                publishers_in_turn_keep_the_order
                each_topic_keeps_its_order
                racing_publishers_keep_their_own_order
            }
            concurrent {
                racing_batches_all_arrive
                outcomes_belong_to_their_batch
                probes_and_publishes_run_together
                a_crowd_of_publishers_shares_a_place
                a_large_message_does_not_mix_with_others
            }
            cancel {
                a_dropped_publish_leaves_the_publisher_usable
                a_dropped_publish_leaves_whole_messages
                a_dropped_publish_leaves_another_alone
                a_dropped_probe_leaves_the_publisher_usable
            }
            outage {
                without_a_connection_nothing_is_sent
                a_lost_reply_is_unknown
                an_unknown_message_can_be_repeated
                outcomes_do_not_wait_for_each_other
                a_cut_in_the_middle_of_a_batch_is_told_as_it_is
                a_cut_of_an_idle_connection_is_survived
                one_outage_after_another_is_survived
                a_publish_recovers_by_itself
                a_silent_broker_is_survived
                a_probe_of_an_unreachable_broker_is_unavailable
                a_publisher_may_start_first
            }
            probe {
                a_probe_tells_the_durability
                a_probe_writes_nothing
                a_publish_needs_no_probe
                racing_probes_agree
                a_publisher_shows_no_messages
            }
        }
    };
}

/// Makes tests, or a list of names, of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! __broker_tests {
    (tests $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        $(
            mod $noun {
                #[allow(unused_imports)]
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        let case = $crate::broker::$noun::$case::<$harness>();
                        $crate::broker::test::<$harness>(stringify!($noun), stringify!($case), case);
                    }
                )*
            }
        )*
    };
    (names; $($noun:ident { $($case:ident)* })*) => {
        [$(vec![$((stringify!($noun), stringify!($case))),*]),*]
    };
    (checks $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        [$(vec![$($crate::certify::Check {
            noun: stringify!($noun),
            name: stringify!($case),
            run: |patience| $crate::suite::run_within(patience, $crate::broker::$noun::$case::<$harness>()),
        }),*]),*]
    };
}

/// Certifies a publisher: one test for each [case](crate::broker::cases), in a module for each noun,
/// run against the [harness](crate::broker::Harness) that is named.
///
/// The [suite](crate::broker) shows a harness.
#[macro_export]
macro_rules! broker_suite {
    ($harness:ty) => {
        $crate::__broker_table! { tests $harness }
    };
}
