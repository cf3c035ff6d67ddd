//! The table of cases: what `source_suite!` runs, noun by noun.

/// Hands the table to the arm `$mode` of [`__source_tests`](crate::__source_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __source_table {
    ($($mode:tt)*) => {
        $crate::__source_tests! {
            $($mode)*;
            read {
                a_message_comes_back_as_it_was_published
                hostile_messages_come_back
                messages_come_in_the_order_of_the_stream
                topics_keep_their_order
                an_empty_stream_brings_an_empty_batch
                a_waiting_reader_gets_what_is_published
                a_batch_stays_within_its_room
                a_batch_stays_within_its_bytes
                a_probe_finds_the_stream
                an_arrival_tells_its_age
            }
            resume {
                a_reader_begins_behind_its_position
                what_was_not_acked_comes_again
                nothing_at_or_below_the_position_comes
                a_stale_reader_takes_nothing_away
                another_opening_reads_on
                a_dropped_wait_loses_nothing
            }
            refuse {
                a_payload_beyond_the_limits_is_refused
                a_refusal_is_passed_by
                a_foreign_message_has_an_id_of_its_own
                removed_entries_are_told
                removing_what_was_read_loses_nothing
                a_stream_made_anew_is_read_from_its_beginning
            }
            outage {
                a_cut_ends_the_reader
                an_unreachable_broker_is_unavailable
                a_silent_broker_is_survived
                a_lost_ack_is_harmless
                an_inbox_outlives_cuts
                inboxes_outlive_kills
            }
        }
    };
}

/// Makes tests, or a list of names, of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! __source_tests {
    (tests $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        mod source {
            #[allow(unused_imports)]
            use super::*;

            $(
                mod $noun {
                    #[allow(unused_imports)]
                    use super::*;

                    $(
                        #[test]
                        fn $case() {
                            let case = $crate::source::$noun::$case::<$harness>();
                        $crate::source::test::<$harness>(stringify!($noun), stringify!($case), case);
                        }
                    )*
                }
            )*
        }
    };
    (names; $($noun:ident { $($case:ident)* })*) => {
        [$(vec![$((stringify!($noun), stringify!($case))),*]),*]
    };
    (checks $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        [$(vec![$($crate::certify::Check {
            noun: stringify!($noun),
            name: stringify!($case),
            run: |patience| $crate::suite::run_within(patience, $crate::source::$noun::$case::<$harness>()),
        }),*]),*]
    };
}

/// Certifies a source: one test for each [case](crate::source::cases), in a module for each noun,
/// run against the [harness](crate::source::Harness) that is named.
///
/// The [suite](crate::source) shows a harness.
#[macro_export]
macro_rules! source_suite {
    ($harness:ty) => {
        $crate::__source_table! { tests $harness }
    };
}
