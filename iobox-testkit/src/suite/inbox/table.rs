//! The table of the cases of the inbox, and the macro that makes tests of it.

/// Hands the table to the arm `$mode` of [`__inbox_tests`](crate::__inbox_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __inbox_table {
    ($($mode:tt)*) => {
        $crate::__inbox_tests! {
            $($mode)*;
            receive {
                a_message_is_stored_once_for_each_handler
                a_message_that_comes_twice_in_one_call_is_stored_once
                an_id_of_another_source_or_origin_is_another_message
                racing_receptions_store_every_message_once
                deliveries_keep_their_order
                a_delivery_that_breaks_a_bound_stores_nothing
                a_reception_in_a_transaction_follows_it
                a_message_is_known_for_its_horizon
                an_event_date_orders_and_removes_nothing
                ids_of_any_producer_are_known
                a_message_with_rows_is_not_forgotten
                the_content_of_a_message_comes_back
            }
            hostile {
                hostile_deliveries_come_back
                deliveries_of_odd_times_are_stored
            }
            subscribe {
                a_message_that_nobody_wants_is_kept
                a_kept_message_goes_to_the_next_subscriber
                a_duplicate_adds_no_rows_for_later_handlers
                subscribing_again_changes_nothing
                a_retired_handler_gets_nothing_more
                an_unknown_handler_has_no_queue
                a_subscription_that_races_with_receptions_misses_nothing
                unrouted_messages_have_a_retention_of_their_own
            }
            transact {
                effects_and_mark_commit_together
                a_mark_of_an_older_epoch_is_refused
                a_mark_of_a_settled_row_is_superseded
                a_mark_and_its_commit_are_one_call
                a_takeover_before_the_mark_commits_one_set_of_effects
                an_admitted_message_is_admitted_once
                a_message_of_two_open_transactions_is_admitted_once
            }
            handle {
                every_handler_handles_every_message
                a_failed_attempt_is_repeated
                a_rejected_message_is_a_dead_letter_and_keeps_its_payload
                a_message_dies_after_its_last_attempt
                a_panic_is_a_failed_attempt
                a_handler_that_is_too_slow_is_a_failed_attempt
                one_handler_fails_and_the_others_go_on
                the_order_of_a_key_holds_for_each_handler
                a_dead_message_halts_its_key_for_its_handler_alone
                a_rolling_deploy_gives_each_handler_its_messages
                a_handler_commits_with_what_it_enqueues
                a_replayed_dead_letter_is_handled
                a_slow_handler_outlasts_its_lease
            }
            ingest {
                a_batch_and_its_position_commit_together
                a_repeated_ingest_is_known
                an_ingest_from_elsewhere_stores_nothing
                positions_of_sources_are_apart
                an_empty_batch_moves_the_position
                a_batch_that_breaks_a_bound_moves_nothing
                a_duplicate_in_a_batch_adds_nothing_and_moves_on
                the_backlog_counts_what_is_ready
            }
            source {
                an_inbox_reads_a_source_to_its_end
                a_source_that_fails_is_opened_again
                a_killed_reader_is_followed_by_another
                an_inbox_that_is_behind_stops_reading
                a_stopped_inbox_gives_its_right_back
                a_source_without_an_order_is_read_by_everybody
            }
            takeover {
                an_ingest_of_an_older_epoch_stores_nothing
                a_takeover_while_an_ingest_is_open
                racing_holders_store_every_message_once
                a_source_has_one_reader
                a_subscription_that_races_with_ingests_misses_nothing
                a_dropped_ingest_is_done_or_not_done
            }
            polled {
                a_reception_dropped_at_any_poll_is_whole_or_nothing
                an_ingest_dropped_at_any_poll_is_whole_or_nothing
                a_handling_dropped_at_any_poll_is_whole_or_nothing
            }
            observe {
                an_observer_hears_of_failures
            }
            rehearse {
                a_rehearsal_changes_nothing
                a_rehearsal_says_how_the_handler_ended
                what_cannot_be_rolled_back_is_not_rehearsed
            }
        }
    };
}

/// Makes tests, or a list of names, of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! __inbox_tests {
    (tests $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        mod inbox {
            #[allow(unused_imports)]
            use super::*;
            $(
                mod $noun {
                    #[allow(unused_imports)]
                    use super::*;
                    $(
                        #[test]
                        fn $case() {
                            let case = $crate::suite::inbox::$noun::$case::<$harness>();
                            $crate::suite::inbox::test::<$harness>(stringify!($noun), stringify!($case), case);
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
            run: |patience| $crate::suite::run_within(patience, $crate::suite::inbox::$noun::$case::<$harness>()),
        }),*]),*]
    };
}

/// Certifies the inbox half of a store: one test for each [case](crate::suite::inbox::cases), in a
/// module for each noun, run against the [harness](crate::suite::Harness) that is named.
#[macro_export]
macro_rules! inbox_suite {
    ($harness:ty) => {
        $crate::__inbox_table! { tests $harness }
    };
}
