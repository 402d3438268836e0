//! The duties of every engine that keeps rows, written against the contract alone, and the particular behaviour of
//! single engines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise; clippy does not see that a case is called by a test"
)]

mod acts;
mod audit;
mod dead;
mod deliveries;
mod destinations;
mod engine;
mod finding;
mod keys;
mod mending;
mod operators;
mod order;
mod postgres;
mod replays;
mod samples;
mod schedule;
mod sqlite;
mod status;
mod steering;
mod storing;
mod superseded;
mod unmigrated;
mod watching;
mod workers;

/// Every case, for one engine. A new engine adds one line at the end of this file.
macro_rules! conformance {
    ($($engine:ident: $open:path;)+) => {
        $(mod $engine {
            conformance!(@cases $open;
                acts: letters_that_an_operator_changes_are_recorded,
                    letters_that_an_operation_changes_are_recorded_once,
                    each_step_of_steering_is_recorded,
                    an_edit_is_recorded_without_its_content;
                destinations: a_pause_is_known_everywhere_until_it_is_resumed,
                    a_pause_that_holds_stays_and_leaves_one_entry,
                    an_open_breaker_is_known_everywhere_until_it_is_closed,
                    what_is_resumed_has_no_open_breaker,
                    one_of_all_takes_the_probe_of_a_breaker;
                workers: copies_know_of_each_other_until_they_leave,
                    who_was_silent_for_long_is_not_live_and_joins_anew,
                    a_process_that_tells_its_configuration_takes_no_share,
                    a_process_that_tells_and_delivers_is_one,
                    the_live_workers_of_a_destination_are_listed;
                order: only_the_first_of_a_key_is_made,
                    an_earlier_one_may_come_for_a_while,
                    one_worker_at_a_time_holds_the_first,
                    a_replay_takes_its_place_again,
                    what_has_ended_otherwise_is_found,
                    a_destination_without_order_gives_its_places_up,
                    a_place_counts_by_the_newest_row;
                schedule: a_scheduled_event_is_due_nowhere_until_it_is_released,
                    what_comes_after_its_moment_waits_for_nothing,
                    what_waits_goes_on_by_its_release_alone,
                    events_are_sent_in_the_order_of_their_moments,
                    a_cancelled_event_is_due_nowhere,
                    of_a_release_and_a_cancel_at_once_one_wins,
                    scheduled_events_are_listed_page_by_page;
                operators: an_operator_is_known_by_the_key,
                    one_operator_at_a_time_has_a_name,
                    a_revoked_operator_stays_revoked;
                audit: an_entry_comes_back_as_it_was_written,
                    entries_at_once_are_one_chain,
                    entries_are_found_by_each_filter,
                    secrets_are_masked_in_entries;
                storing: an_empty_batch_is_nothing_to_do,
                    refused_data_stores_nothing_of_its_batch,
                    what_is_stored_is_new_then_before_then_in_conflict,
                    a_row_with_another_fingerprint_is_known_by_its_text,
                    of_one_id_twice_in_a_batch_the_first_wins,
                    of_one_address_twice_in_a_batch_the_first_wins,
                    a_taken_address_leaves_no_trace,
                    an_id_that_lost_its_address_may_come_with_another,
                    a_conflict_takes_no_address,
                    a_replayed_event_is_due_again_once,
                    what_json_may_hold_is_kept,
                    overlapping_batches_at_once_are_stored_exactly_once;
                deliveries: states_come_in_the_order_asked,
                    what_was_delivered_stays_delivered,
                    several_attempts_in_one_batch_count_as_several,
                    a_record_tells_of_the_last_attempt,
                    only_what_is_due_is_discarded,
                    an_attempt_at_an_unknown_delivery_is_written_down,
                    text_that_a_column_cannot_hold_is_kept_all_the_same,
                    overlapping_records_at_once_all_succeed;
                dead: a_dead_letter_comes_back_as_it_was,
                    keeping_twice_keeps_one,
                    a_letter_counts_how_often_it_came,
                    a_dead_letter_marks_its_delivery_and_no_other,
                    two_letters_of_one_delivery_can_be_kept_at_once,
                    pages_show_every_letter_once,
                    a_filter_holds_in_all_its_conditions,
                    rejections_are_kept_once;
                keys: a_key_comes_back_as_it_was_and_is_recorded,
                    pages_of_keys_show_each_once,
                    every_change_of_a_key_is_seen_once_and_in_order,
                    changes_at_once_get_revisions_of_their_own,
                    a_revoked_key_stays_revoked,
                    a_rotated_key_goes_on_until_its_end;
                replays: a_replay_claims_the_oldest_first_and_makes_them_due_again,
                    two_replays_at_once_never_claim_the_same,
                    what_dies_again_is_not_claimed_again,
                    only_what_is_marked_is_counted_and_once,
                    a_killed_replay_goes_on_where_it_was,
                    the_end_of_a_replay_opens_what_it_had_claimed,
                    a_replay_to_elsewhere_makes_nothing_due,
                    a_replay_that_does_not_run_claims_nothing;
                superseded: the_newest_generation_alone_is_open,
                    what_was_delivered_has_no_open_letter,
                    an_early_letter_is_open_while_something_may_hang_on_it,
                    what_is_opened_again_too_late_is_superseded,
                    generations_at_once_leave_one_open;
                finding: each_filter_finds_what_it_says_and_no_more,
                    a_text_is_found_anywhere_in_the_error,
                    a_group_is_found_by_its_fingerprint,
                    groups_equal_a_recount_whatever_was_done,
                    many_writers_at_once_are_all_counted,
                    a_story_tells_all_that_is_known;
                mending: an_edit_keeps_the_original,
                    all_of_a_message_can_be_mended,
                    an_edit_does_not_undo_what_somebody_else_did,
                    only_open_letters_are_edited,
                    what_is_discarded_can_be_restored,
                    an_early_letter_is_discarded_alone,
                    only_what_is_settled_and_old_is_purged;
                steering: a_replay_comes_back_as_it_was_begun,
                    replays_are_listed_page_by_page,
                    a_replay_can_be_paused_and_goes_on,
                    a_paused_replay_can_end,
                    a_stopped_replay_gives_back_what_it_has_not_sent,
                    a_replay_of_the_history_counts_its_way,
                    what_runs_is_found_by_the_workers,
                    an_outcome_follows_each_letter,
                    an_outcome_follows_letters_through_other_queues,
                    a_replay_does_not_end_while_letters_are_left;
                watching: one_has_the_lease_and_the_next_goes_on_from_there,
                    an_event_is_completed_when_every_delivery_is_made,
                    the_letters_of_an_entry_key_are_counted_with_their_copies,
                    an_event_is_known_by_the_id_that_the_history_makes_of_it,
                    what_was_replayed_under_a_new_id_goes_on_under_it,
                    what_is_due_is_found_and_what_a_replay_holds_is_not,
                    a_stored_body_comes_back_byte_for_byte,
                    what_was_stored_in_a_window_is_told_and_what_never_was,
                    letters_that_are_no_events_are_counted_once_they_are_sent_again,
                    repairs_are_counted,
                    findings_are_those_of_now_and_keep_their_beginning;
                status: nothing_is_known_of_a_stranger,
                    a_stored_event_goes_through_its_deliveries,
                    one_dead_delivery_makes_the_event_dead_when_nothing_is_due,
                    a_replay_makes_a_dead_event_go_on,
                    an_event_with_nowhere_to_go_is_completed,
                    an_event_says_where_it_is_not_due_by_a_filter,
                    a_rejected_event_says_why,
                    a_rejection_beside_a_stored_event_shows_as_a_conflict_and_changes_nothing_else,
                    an_event_that_died_before_it_was_stored_is_dead_until_it_is_replayed,
                    the_whole_record_holds_the_event,
                    each_event_stands_somewhere_or_is_not_known;
            );
        })+
    };
    (@cases $open:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::engine::with_system($open().await, crate::$module::$case).await;
            })+
        })+
    };
}

conformance! {
    on_postgres: crate::postgres::open;
    on_a_pooler: crate::postgres::pooler::open;
    on_sqlite: crate::sqlite::open;
}
