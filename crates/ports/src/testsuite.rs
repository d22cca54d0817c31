//! The conformance suite: what every adapter of the store ports must pass.
//!
//! An adapter instantiates it with a function that makes a fresh [`Subject`]:
//!
//! ```text
//! async fn subject() -> Subject {
//!     Subject::of(Arc::new(MemoryStore::new()), ())
//! }
//! downlink_ports::conformance_tests!(subject);
//! ```
//!
//! The crate that does so needs `tokio` with its macros. Tests move `now` by hand; nothing sleeps.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic is how a test says no"
)]

pub mod access;
pub mod audit;
pub mod connections;
mod expect;
pub mod feedback;
pub mod given;
pub mod jobs;
pub mod limits;
pub mod messages;
pub mod outbox;
pub mod policies;
pub mod polls;
pub mod presence;
pub mod purge;
pub mod queries;
pub mod rates;
pub mod registry;
pub mod registry_writes;
pub mod relay;
pub mod sessions;
pub mod settle;
mod subject;
pub mod sweep;
pub mod twins;

pub use subject::Subject;

/// Makes one test of each promise, for subjects made by the given async function.
#[macro_export]
macro_rules! conformance_tests {
    ($make:ident) => {
        $crate::conformance_tests! { @module $make messages
            accepted_messages_come_back_whole_and_in_order
            sequence_numbers_rise_and_are_not_used_again_after_the_queue_was_emptied
            a_message_to_an_unknown_or_disabled_device_is_refused_alone
            a_disabled_device_keeps_its_messages
            a_message_without_an_expiry_in_the_future_is_refused
            a_full_queue_refuses_what_goes_beyond_its_depth
            held_messages_fill_a_queue_and_expired_ones_do_not
            a_settled_message_makes_room
            messages_for_many_devices_keep_the_order_of_each
            as_many_messages_are_handed_out_as_there_are_tokens
            held_messages_are_passed_over
            requests_are_answered_by_position
            two_requests_for_one_device_share_its_messages
            an_expired_message_is_never_handed_out
            a_lapsed_lock_returns_the_message_to_its_place
            waiting_messages_are_counted_held_or_not
            hubs_do_not_share_devices
            large_batches_are_taken_whole
        }
        $crate::conformance_tests! { @module $make limits
            a_hub_of_which_nothing_is_stated_has_version_zero
            stated_limits_read_back_under_a_version_that_rises
            a_change_under_another_version_changes_nothing
            limits_of_a_hub_that_does_not_exist_are_not_changed
            hubs_have_limits_of_their_own
            as_many_devices_as_may_have_limits_of_their_own_read_back
            a_change_of_limits_is_audited_and_a_refused_one_is_not
        }
        $crate::conformance_tests! { @module $make settle
            completed_messages_are_gone
            each_ack_mode_hears_of_the_outcomes_it_asked_for
            a_settlement_needs_the_current_token
            a_settlement_at_the_end_of_the_lock_is_lost
            a_settlement_at_the_expiry_is_lost
            the_second_settlement_of_a_batch_is_lost
            settlements_are_answered_by_position_and_in_any_order
            an_abandoned_message_returns_to_its_place
            an_abandoned_message_is_dead_lettered_after_its_last_delivery
            a_message_whose_lock_lapses_is_dead_lettered_after_its_last_delivery
            a_receive_passes_exhausted_messages_and_hands_out_those_behind
            a_released_delivered_message_counts_as_a_delivery
            a_released_undelivered_message_counts_as_not_received
            when_abandons_count_a_lapse_does_not
            when_abandons_count_the_one_beyond_the_maximum_ends_the_message
            a_rejected_message_is_dead_lettered
        }
        $crate::conformance_tests! { @module $make sweep
            an_expired_message_ends_with_feedback_held_or_not
            a_swept_message_cannot_be_settled
            lapsed_locks_are_reported_once_for_each_device
            a_lapsed_last_delivery_is_dead_lettered
            a_sweep_stops_at_its_limit_and_says_so
            a_sweep_without_anything_due_changes_nothing
        }
        $crate::conformance_tests! { @module $make purge
            a_purge_removes_everything_that_waits_and_tells_the_senders
            a_purge_of_an_unknown_device_answers_none
            a_purge_leaves_expired_messages_to_the_sweep
            a_purged_queue_takes_messages_again
        }
        $crate::conformance_tests! { @module $make feedback
            a_batch_is_ready_when_it_is_full
            a_smaller_batch_is_ready_when_its_oldest_record_has_waited
            a_batch_holds_the_oldest_records_first
            a_held_batch_goes_to_one_receiver
            a_lapsed_batch_comes_back_with_a_higher_count
            settled_batches_are_gone
            an_abandoned_batch_comes_back_with_a_higher_count
            an_undelivered_batch_comes_back_as_if_not_received
            a_settlement_needs_the_current_token_and_a_running_hold
            records_are_dropped_after_their_last_delivery
            records_are_dropped_at_the_end_of_their_life
            hubs_have_queues_of_their_own
            feedback_outlives_its_device
            every_record_is_an_event_too
        }
        $crate::conformance_tests! { @module $make registry
            a_created_identity_reads_back_with_its_twin_and_event
            every_way_to_prove_oneself_reads_back
            a_name_can_be_created_once
            a_spec_outside_its_rules_is_refused
            a_created_again_identity_shares_nothing_with_the_earlier_one
            a_replacement_needs_the_current_etag
            a_replacement_keeps_what_the_writer_does_not_say
            a_deletion_needs_the_current_etag
            a_deleted_identity_takes_all_its_own_with_it
            modules_are_identities_under_their_device
            devices_are_listed_in_order_and_counted
            identities_are_found_by_position
            hubs_do_not_share_identities
        }
        $crate::conformance_tests! { @module $make registry_writes
            writes_of_one_batch_are_answered_by_position_and_refused_alone
            each_write_of_a_batch_has_its_events
            an_identity_is_named_once_in_a_batch
            a_large_batch_is_written_whole
            an_identity_begins_with_the_twin_it_is_given
            modules_are_listed_in_order_and_counted_beside_devices
            a_module_has_somebody_who_looks_after_it_and_no_status
            an_edge_device_has_its_system_modules_as_long_as_it_is_one
            system_modules_are_written_by_nobody_else
            scopes_name_parents
            a_device_has_as_many_modules_as_it_may
            a_hub_has_as_many_identities_as_it_may
            keys_are_exchanged_and_all_the_rest_stays
        }
        $crate::conformance_tests! { @module $make connections
            connects_and_disconnects_move_state_and_times_and_make_events
            reports_are_taken_in_the_order_of_epochs_and_told_once
            what_a_lost_gateway_left_is_found_and_ended_once
            a_gateway_that_was_presumed_lost_has_its_connections_back
            connected_devices_of_a_hub_are_counted_without_modules
            activity_moves_forward_only
            a_deletion_tells_the_disconnect_and_later_reports_tell_nothing
        }
        $crate::conformance_tests! { @module $make audit
            every_write_of_an_identity_names_who_made_it
            a_refused_write_leaves_no_record
            a_purge_names_who_asked_for_it
            a_record_holds_no_key
        }
        $crate::conformance_tests! { @module $make twins
            changes_are_applied_in_order_and_answered_by_position
            numbers_come_back_as_they_were_written
            a_refused_change_leaves_the_twin_as_it_was
            each_change_makes_an_event
            a_twin_whose_identity_is_gone_is_not_found
            the_newest_changes_of_desired_are_kept_as_they_were_told
            a_large_change_of_desired_is_not_kept
            a_session_remembers_what_its_device_was_told
        }
        $crate::conformance_tests! { @module $make jobs
            a_created_job_reads_back_whole
            an_id_of_a_job_is_taken_once
            a_hub_has_a_most_of_jobs_that_have_not_ended
            jobs_created_at_once_keep_to_the_most
            a_job_is_cancelled_before_it_begins_and_not_after
            jobs_are_listed_in_order_by_kind_and_state
            a_job_is_claimed_once_it_is_due_the_earliest_first
            of_many_runners_one_gets_the_job
            a_claim_lapses_and_writes_under_it_come_to_nothing
            a_released_job_is_claimed_at_once
            identities_are_found_in_pages_and_each_once
            identities_are_begun_in_order_and_ended_once
            a_begun_twin_update_is_begun_again_by_the_next_runner
            a_begun_method_call_has_failed_for_the_next_runner
            an_ended_job_is_not_claimed_again
            rows_of_jobs_are_listed_in_pages
            jobs_are_forgotten_with_their_rows_in_pages
            creation_and_cancellation_of_jobs_are_audited
        }
        $crate::conformance_tests! { @module $make queries
            a_comparison_holds_for_values_of_its_kind_alone
            null_is_a_value_and_not_what_is_absent
            kinds_and_lists_are_told_apart
            conditions_are_joined
            what_identities_have_is_found
            modules_are_found_apart_with_the_status_of_their_device
            queries_see_their_own_hub_alone
            names_and_texts_of_any_making_are_data
            long_texts_are_compared_to_their_end
            what_is_written_is_found_and_what_is_gone_is_not
            a_walk_goes_on_where_it_stood_while_rows_change
            pages_end_where_the_rows_end
            rows_bring_what_is_needed
            rows_are_counted_by_what_they_have_in_common
            more_groups_than_asked_for_are_no_answer
        }
        $crate::conformance_tests! { @module $make sessions
            a_saved_session_reads_back_until_it_is_removed
            a_session_of_nobody_is_dropped
        }
        $crate::conformance_tests! { @module $make policies
            a_hub_is_created_once_with_its_policies
            hubs_are_named_oldest_first
        }
        $crate::conformance_tests! { @module $make access
            a_hub_that_does_not_exist_has_version_0_and_takes_nothing
            access_is_read_whole_and_only_when_it_is_new
            a_policy_reads_back_whole
            a_hub_may_be_made_with_limited_policies
            a_policy_is_created_once_and_replaced_by_its_etag
            a_policy_is_deleted_by_its_etag_or_without_one
            policies_stand_in_the_order_of_their_creation
            a_hub_has_a_most_of_policies
            the_last_policy_that_administers_stays
            an_authority_reads_back_whole_in_every_state_of_its_proof
            an_authority_keeps_the_time_of_its_registration
            an_authority_is_registered_once_by_name_and_by_certificate
            an_authority_is_replaced_and_removed_by_its_etag
            a_hub_has_a_most_of_authorities
            the_version_rises_with_every_write_and_with_no_refusal
            every_write_leaves_an_audit_event_without_a_secret
            writers_of_the_same_state_take_turns
            two_administrators_do_not_delete_each_other
        }
        $crate::conformance_tests! { @module $make outbox
            events_are_read_in_the_order_of_their_append
            an_event_that_is_there_already_is_skipped
            events_read_back_whole
            events_beyond_the_age_are_shed
            events_beyond_the_number_are_shed_oldest_first
            positions_rise_also_after_everything_was_shed
        }
        $crate::conformance_tests! { @module $make relay
            nothing_to_claim_is_none
            an_appended_event_is_found_whole
            an_event_written_with_its_cause_is_found
            claimed_events_come_in_order_for_each_device
            a_claim_holds_at_most_its_limit
            a_claim_holds_its_lane_alone
            a_dropped_claim_gives_all_back
            a_finish_removes_exactly_what_was_sent
            a_partial_finish_leaves_the_rest_first
            a_full_lane_does_not_starve_the_others
            a_lane_given_back_unsent_does_not_starve_the_others
            a_trim_waits_for_no_claim_and_brings_nothing_back
            an_event_of_an_earlier_time_does_not_overtake
            an_empty_outbox_has_no_backlog
            a_backlog_is_counted_from_its_oldest_event_on
        }
    };
    (@module $make:ident $module:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    $crate::testsuite::$module::$name(super::$make().await).await;
                }
            )*
        }
    };
}

/// Makes one test of each promise of `PresenceDirectory`, `GatewayLeases` and `PollThrottle`, for subjects
/// ([`Presence`](crate::testsuite::presence::Presence)) made by the given async function.
#[macro_export]
macro_rules! presence_conformance_tests {
    ($make:ident) => {
        $crate::conformance_tests! { @module $make presence
            a_connection_reads_back_whole_until_it_ends
            a_second_connection_supersedes_the_first
            a_stale_disconnect_leaves_the_newer_connection_alone
            epochs_rise_across_disconnects
            a_subscription_under_a_stale_epoch_is_ignored
            a_watch_sees_each_kind_of_change_that_came_after_it_was_made
            a_watch_passes_over_other_devices
            a_lease_is_anew_when_taken_and_kept_when_renewed
            gateways_are_those_that_hold_a_lease
            an_entry_written_again_stands_unless_a_newer_one_does
            a_connect_after_entries_were_written_again_is_the_newer
            large_batches_are_answered_by_position
            a_watch_sees_an_entry_written_again
        }
        $crate::conformance_tests! { @module $make polls
            a_turn_is_taken_once_within_its_interval
            each_device_has_turns_of_its_own
            a_turn_comes_again_after_its_interval
            of_many_calls_at_once_one_takes_the_turn
        }
        $crate::conformance_tests! { @module $make rates
            gateways_hear_the_newest_word_of_each_other_and_their_own
            hubs_have_rates_of_their_own
            a_gateway_that_leaves_is_heard_no_more
            a_word_that_is_not_said_again_ends
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_list() {
        let list = include_str!("testsuite.rs");
        let modules = [
            include_str!("testsuite/access.rs"),
            include_str!("testsuite/connections.rs"),
            include_str!("testsuite/feedback.rs"),
            include_str!("testsuite/limits.rs"),
            include_str!("testsuite/jobs.rs"),
            include_str!("testsuite/messages.rs"),
            include_str!("testsuite/outbox.rs"),
            include_str!("testsuite/policies.rs"),
            include_str!("testsuite/polls.rs"),
            include_str!("testsuite/presence.rs"),
            include_str!("testsuite/purge.rs"),
            include_str!("testsuite/queries.rs"),
            include_str!("testsuite/rates.rs"),
            include_str!("testsuite/registry.rs"),
            include_str!("testsuite/registry_writes.rs"),
            include_str!("testsuite/relay.rs"),
            include_str!("testsuite/sessions.rs"),
            include_str!("testsuite/settle.rs"),
            include_str!("testsuite/sweep.rs"),
            include_str!("testsuite/twins.rs"),
        ];
        let promises = modules
            .iter()
            .flat_map(|text| text.split("\npub async fn ").skip(1))
            .map(|rest| rest.split('(').next().unwrap());
        let mut count = 0;
        for promise in promises {
            assert!(list.contains(&format!(" {promise}\n")), "{promise}");
            count += 1;
        }
        assert!(count > 80);
    }
}
