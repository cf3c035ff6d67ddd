//! The table of cases: what `store_suite!` runs, noun by noun.

/// Hands the table to the arm `$mode` of [`__store_tests`](crate::__store_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __store_table {
    ($($mode:tt)*) => {
        $crate::__store_tests! {
            $($mode)*;
            open {
                an_open_store_tells_its_partitions
                the_origin_is_the_same_for_every_handle
                two_stores_have_two_origins
                tables_that_nobody_migrated_are_refused
                tables_newer_than_the_program_are_refused
                another_partition_count_is_refused
                another_queue_is_refused
            }
            lease {
                a_registered_instance_gets_every_partition
                an_unknown_instance_is_gone
                registering_twice_is_one_instance
                a_renewal_extends_the_life
                an_instance_that_does_not_renew_loses_its_partitions
                an_expired_instance_renews_while_its_row_is_there
                an_expired_instance_acquires_nothing
                a_deleted_instance_is_gone
                an_instance_that_left_is_gone
                every_acquisition_raises_the_epoch
                every_takeover_raises_the_epoch
                a_repeated_acquisition_takes_nothing_twice
                a_grant_whose_reply_was_lost_is_granted_again
                a_grant_whose_reply_was_lost_is_nobody_elses
                an_epoch_that_the_owner_does_not_know_is_granted_again
                an_unknown_epoch_is_granted_again_beyond_the_share
                a_partition_granted_again_counts_once
                racing_instances_never_share_an_epoch
            }
            share {
                shares_are_even_and_cover_every_partition
                the_oldest_instances_get_one_more
                the_youngest_of_too_many_get_nothing
                nobody_takes_more_than_a_share
                an_expired_instance_has_no_share
                an_instance_that_left_has_no_share
                instances_that_join_one_by_one_end_even
            }
            handover {
                released_partitions_go_to_the_next
                a_new_partition_is_not_abandoned
                a_released_partition_is_not_abandoned
                only_a_death_abandons_a_partition
                leaving_without_giving_back_abandons
                a_partition_stays_abandoned_until_it_is_worked_off
                a_lost_grant_comes_back_beyond_the_share
                a_release_under_an_older_epoch_is_ignored
                a_release_by_somebody_else_is_ignored
                a_repeated_release_takes_nothing
                messages_go_with_their_partition
            }
            fence {
                an_older_epoch_settles_nothing
                a_settle_after_ones_own_release_is_refused
                an_epoch_of_the_future_settles_nothing
                a_repetition_after_a_takeover_is_refused
                an_expired_owner_settles_until_a_takeover
                partitions_are_fenced_one_by_one
                an_older_epoch_releases_nothing
                an_older_epoch_sets_nothing_aside
                a_fetch_after_ones_own_release_moves_nothing
                a_racing_takeover_splits_settlements_cleanly
            }
            fetch {
                rows_come_in_the_order_of_their_enqueues
                an_empty_store_has_nothing_to_fetch
                a_row_comes_as_it_was_enqueued
                the_age_follows_the_clock_of_the_store
                the_row_limit_holds
                the_limit_of_a_partition_holds
                partitions_are_served_in_the_order_of_the_request
                only_requested_partitions_are_looked_into
                the_byte_limit_holds
                the_first_row_comes_however_large
                held_rows_are_skipped
                a_held_row_still_blocks
                full_keys_are_passed_over
                a_crowd_of_a_full_key_is_set_aside
                rows_without_a_key_are_never_set_aside
                a_crowd_hides_the_rest_only_for_a_while
                several_full_keys_together_are_a_crowd
                only_open_rows_are_fetched
                a_fetch_changes_nothing
            }
            order {
                drafts_of_a_call_keep_their_order
                later_transactions_get_higher_seqs
                racing_writers_keep_their_own_order
                keys_hash_to_the_same_partition_everywhere
                a_message_without_a_key_goes_by_its_id
                an_id_is_no_key
            }
            blocked {
                followers_of_a_retrying_head_are_set_aside
                followers_of_an_unknown_outcome_are_set_aside
                followers_of_a_waiting_head_are_set_aside
                followers_of_a_halting_head_are_set_aside
                followers_of_a_skipped_head_run
                followers_of_a_done_head_run
                a_due_head_runs_and_its_followers_do_not
                an_earlier_message_is_not_blocked
                a_due_retry_is_blocked_like_any_other
                other_keys_are_not_blocked
                a_message_without_a_key_blocks_nothing
                a_fetch_sets_aside_all_of_a_key_that_it_names
                rows_that_are_held_are_not_set_aside
                blocked_rows_hide_the_rest_only_for_a_while
                blocked_rows_take_no_room
                a_fetch_of_nothing_sets_aside
            }
            waiting {
                a_waiting_row_is_not_fetched
                nothing_is_released_behind_a_retrying_head
                nothing_is_released_behind_a_halting_head
                followers_come_back_after_the_head_is_done
                followers_come_back_after_the_head_is_discarded
                followers_come_back_after_the_head_is_replayed
                a_release_names_its_keys
                a_release_frees_only_its_keys
                sweeps_find_every_key
                a_sweep_sees_past_blocked_keys
                a_release_stops_at_the_next_obstacle
                a_released_row_keeps_its_attempts
                a_head_settled_while_followers_are_set_aside_strands_nothing
                a_sweep_while_followers_are_set_aside_strands_nothing
                an_heir_finds_what_was_set_aside
            }
            late {
                a_message_exists_from_its_commit_on
                rolled_back_messages_never_appear
                messages_of_a_dropped_transaction_never_appear
                a_late_commit_is_delivered
                a_late_commit_is_not_blocked_by_later_messages
                a_late_commit_comes_before_released_followers
                a_rolled_back_seq_leaves_a_gap
            }
            settle {
                done_is_done
                each_change_brings_a_row_into_its_state
                each_change_applies_to_a_retrying_row
                each_change_records_the_attempts
                a_repeated_settlement_changes_nothing
                a_repeated_mark_raises_the_revision_once
                a_repeated_retry_keeps_its_due_time
                an_older_revision_is_superseded
                a_revision_of_the_future_is_superseded
                a_contradiction_is_superseded
                a_discard_supersedes_every_change
                a_replay_supersedes_every_change
                a_verdict_repeated_after_a_replay_is_superseded
                a_row_that_is_gone_is_superseded
                each_change_applies_to_a_waiting_row
                results_stand_in_the_order_of_the_settlements
                a_superseded_row_leaves_its_neighbours_alone
                no_settlements_are_no_results
            }
            retry {
                a_retry_is_due_after_its_delay
                a_retry_without_a_delay_is_due_at_once
                short_and_long_delays_are_kept
                due_retries_come_in_their_old_place
                retries_that_are_not_due_hide_nothing
                the_last_reason_is_kept
                a_long_reason_is_cut_between_characters
                an_unknown_outcome_is_remembered_for_ever
                a_known_failure_is_not_uncertain
                alone_lasts_until_the_next_verdict
                a_counted_unknown_outcome_is_not_alone
                retries_survive_a_takeover
            }
            halt {
                messages_enqueued_after_a_halt_wait_too
                a_halt_survives_a_takeover
                a_key_is_halted_until_its_last_dead_message_is_gone
                a_replay_frees_the_key
                a_discard_frees_the_key
                followers_that_never_waited_need_no_release
                a_second_death_halts_again
                a_halt_reaches_only_forward
            }
            suspect {
                a_mark_makes_a_suspect
                a_mark_keeps_a_retrying_row_due
                a_suspect_survives_a_takeover
                crashes_are_absolute
                crashes_are_counted_across_deaths
                a_retry_clears_a_suspect
                a_closed_message_comes_back_without_suspicion
                a_clear_takes_the_mark_off
                a_suspect_that_waited_is_still_one
            }
            dead {
                a_dead_message_is_kept_with_its_reason
                halting_is_kept_with_the_message
                a_dead_message_without_a_key_halts_nothing
                a_dead_message_stays_dead
                a_dead_message_may_be_uncertain
                a_message_that_dies_in_doubt_is_uncertain_for_ever
            }
            replay {
                a_replayed_message_starts_afresh
                one_message_is_replayed_from_any_end
                an_unknown_id_is_not_replayed
                a_replay_without_states_takes_the_dead
                a_replay_with_states_takes_those
                a_replay_keeps_to_its_filter
                a_replay_since_a_time_takes_what_was_published_then
                a_replay_since_a_time_meets_its_own_messages_no_second_time
                a_replay_of_a_span_takes_what_lies_in_it
                a_dry_run_replays_nothing
                a_replay_counts_what_comes_out_of_order
                replayed_messages_come_in_their_old_order
                progress_counts_what_became_of_a_replay
                a_message_belongs_to_its_last_replay
                an_unknown_replay_has_no_progress
                one_call_takes_ten_thousand_messages
            }
            discard {
                a_discarded_message_is_closed
                only_what_is_not_closed_is_discarded
                a_discard_takes_the_states_of_its_filter
                a_discard_keeps_to_its_filter
                a_dry_run_discards_nothing
                nothing_is_discarded_by_mistake
            }
            purge {
                only_closed_messages_are_purged
                an_empty_store_has_nothing_to_purge
                a_message_stays_for_its_retention
                a_purge_is_bounded_and_takes_the_oldest_first
                a_replayed_message_is_not_purged
            }
            enqueue {
                bad_drafts_are_refused
                a_bad_draft_spoils_its_call_and_nothing_else
                drafts_at_every_bound_are_taken
                awkward_texts_come_back_as_they_were
                drawn_ids_are_unique
                results_stand_in_the_order_of_the_drafts
                several_calls_commit_together
                no_drafts_are_no_messages
                ten_thousand_drafts_are_one_call
                a_new_message_is_pending
            }
            hostile {
                hostile_drafts_come_back
                keys_that_look_alike_stay_apart
                hostile_drafts_are_refused
                endless_times_are_survived
            }
            duplicate {
                a_second_message_with_an_id_is_a_duplicate
                a_duplicate_within_a_call_is_reported
                a_duplicate_within_a_transaction_is_reported
                a_duplicate_poisons_nothing
                a_rolled_back_id_is_free
                an_id_outlives_its_message
                an_id_is_forgotten_after_its_message
                an_id_stays_as_long_as_its_message
                ids_are_compared_byte_by_byte
                an_id_of_two_open_transactions_is_written_once
                an_id_of_a_transaction_that_rolls_back_is_new
                racing_duplicates_are_written_once
            }
            cancel {
                a_dropped_settle_is_done_or_not_done
                a_dropped_enqueue_leaves_nothing
                a_dropped_commit_is_whole_or_nothing
                a_dropped_release_strands_nothing
                a_dropped_acquisition_strands_nothing
            }
            polled {
                an_enqueue_dropped_at_any_poll_leaves_nothing
                a_commit_dropped_at_any_poll_is_whole_or_nothing
                a_fetch_dropped_at_any_poll_hides_nothing
                a_settle_dropped_at_any_poll_is_not_lost
                a_renewal_dropped_at_any_poll_can_be_repeated
                an_acquisition_dropped_at_any_poll_strands_nothing
                a_release_dropped_at_any_poll_can_be_repeated
            }
            race {
                a_verdict_and_a_discard_exclude_each_other
                a_mark_and_a_discard_end_in_a_discard
                followers_set_aside_during_a_replay_are_not_stranded
                two_sweeps_release_each_row_once
                a_settlement_sent_twice_is_applied_once
                two_replays_share_the_messages
                two_purges_share_the_messages
                a_working_owner_and_a_writer_keep_the_order
            }
            corrupt {
                a_corrupt_row_comes_as_corrupt
                a_corrupt_row_can_die
                a_corrupt_row_keeps_its_place
                a_corrupt_row_is_settled_with_its_neighbours
                a_person_sees_a_corrupt_row
                a_corrupt_row_can_be_discarded
            }
            list {
                pages_follow_each_other
                a_page_behind_the_end_is_empty
                the_limit_of_a_page_is_checked
                a_filter_by_states_holds
                filters_hold_alone_and_together
                partitions_add_up_to_the_whole
                only_one_message_shows_its_payload
                an_unknown_message_is_not_found
            }
            stats {
                an_empty_store_counts_nothing
                counts_reconcile_with_the_listing
                halted_keys_are_counted_once
                the_oldest_age_is_of_what_is_not_settled
                partitions_tell_their_owners
                instances_tell_their_lives
                instances_are_listed_by_age
            }
            wake {
                an_enqueue_is_signalled
                a_replay_and_a_discard_wake
                a_commit_wakes_a_sleeper
                sleepers_come_and_go
            }
            program {
                random_programs_agree_with_the_model
            }
        }
    };
}

/// Makes tests, or a list of names, of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    (tests $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        $(
            mod $noun {
                #[allow(unused_imports)]
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        let case = $crate::suite::$noun::$case::<$harness>();
                        $crate::suite::test::<$harness>(stringify!($noun), stringify!($case), case);
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
            run: |patience| $crate::suite::run_within(patience, $crate::suite::$noun::$case::<$harness>()),
        }),*]),*]
    };
}

/// Certifies a store: one test for each [case](crate::suite::cases), in a module for each noun, run
/// against the [harness](crate::suite::Harness) that is named.
///
/// The [suite](crate::suite) shows a harness.
#[macro_export]
macro_rules! store_suite {
    ($harness:ty) => {
        $crate::__store_table! { tests $harness }
    };
}
