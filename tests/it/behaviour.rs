//! Which test shows which case of `cases/behaviour.json`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A case, the tests that show it, and the work that is still to come for it.
type Row = (&'static str, &'static [&'static str], &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("keepalive-02", &["keep_alive::off_and_zero_send_nothing_in_an_hour"], ""),
    ("keepalive-05", &["keep_alive::a_comment_goes_between_events_wherever_a_chunk_ends"], ""),
    ("keepalive-06", &["keep_alive::a_comment_goes_between_events_wherever_a_chunk_ends"], ""),
    ("keepalive-07", &["keep_alive::a_comment_never_cuts_a_character"], ""),
    // With real clients, and the decoder. That of fetch-event-source is to come with the browser
    // script.
    ("keepalive-08", &["real_clients::a_comment_after_an_id_is_no_event_to_real_clients",
                       "keep_alive::a_comment_after_an_id_is_no_event"], "client"),
    ("keepalive-10", &["keep_alive::a_comment_goes_between_events_wherever_a_chunk_ends"], ""),
    ("keepalive-11", &["keep_alive::nothing_follows_the_end"], ""),
    // Raw bytes and blank lines are of other dialects.
    ("keepalive-12", &["keep_alive::a_heartbeat_is_an_event_that_moves_nobody",
                       "keep_alive::a_comment_says_what_it_is_told_to"], "dialects"),
    ("keepalive-15", &["keep_alive::a_client_that_does_not_read_delays_nobody"], ""),
    ("headers-01", &["heads::the_head_of_a_stream_has_this_and_no_more"], ""),
    ("headers-02", &["heads::cache_control_is_added_to"], ""),
    ("headers-04", &["heads::streams_are_told_by_status_type_and_encoding",
                     "heads::without_a_length_a_body_whose_head_alone_changes_tells_no_size"], ""),
    ("headers-05", &["heads::what_is_no_stream_passes_untouched"], ""),
    ("headers-06", &["heads::what_is_no_stream_passes_untouched"], ""),
    ("headers-08", &["heads::what_is_no_stream_passes_untouched"], ""),
    ("headers-10", &["heads::the_head_and_a_first_byte_are_there_though_the_handler_stalls"], ""),
    ("ids-01", &["event_ids::events_without_an_id_are_numbered_one_by_one"], ""),
    ("ids-02", &["event_ids::an_id_of_the_streams_own_is_kept"], ""),
    ("ids-04", &["draining::a_client_keeps_the_place_that_it_brings",
                 "draining::no_header_can_hold_what_would_break_a_line",
                 "src::the_header_wins_and_an_empty_id_is_none",
                 "src::the_event_names_what_can_be_replayed_and_the_position_of_the_client",
                 "resume_principals::ids_that_cannot_be_are_as_good_as_none"], ""),
    ("ids-05", &["hub::a_request_says_where_its_client_is",
                 "resume::what_comes_follows_what_was_missed_and_the_id_may_be_in_the_query"], ""),
    ("replay-02", &["hub::a_request_says_where_its_client_is",
                    "redis_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other",
                    "nats_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other"], ""),
    ("replay-06", &["log_gaps::nothing_is_revealed_of_topics_that_are_not_followed",
                    "redis_gaps::a_gap_without_events_gives_a_place_to_come_back_to",
                    "nats_gaps::nothing_is_revealed_of_topics_that_are_not_followed",
                    "resume_principals::stolen_and_guessed_ids_are_as_good_as_none"], ""),
    ("replay-07", &["resume_principals::stolen_and_guessed_ids_are_as_good_as_none",
                    "redis_resume::an_id_of_another_principal_counts_as_none",
                    "nats_resume::an_id_of_another_principal_counts_as_none"], ""),
    ("replay-08", &["log_exactly_once::a_thousand_reconnects_lose_and_repeat_nothing",
                    "redis_exactly_once::a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing",
                    "nats_exactly_once::a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing",
                    "resume_exactly_once::a_thousand_reconnects_lose_and_repeat_nothing"], ""),
    ("replay-11", &["log_bounds::a_million_events_leave_as_many_as_are_kept"], ""),
    ("replay-12", &["log_order::several_topics_come_in_the_order_in_which_they_were_published",
                    "log_exactly_once::a_thousand_reconnects_over_several_topics_lose_and_repeat_nothing"], ""),
    ("replay-14", &["hub::nothing_is_missed_between_the_page_and_its_stream",
                    "resume_in_browser::a_page_misses_nothing_between_its_place_and_its_first_event"], ""),
    ("replay-15", &["resume::a_stream_survives_its_reader",
                    "examples/resumable::an_answer_goes_on_without_its_reader"], ""),
    ("replay-16", &["resume_end::the_final_event_can_be_had_again_and_then_it_is_over",
                    "redis_resume::a_client_of_a_drained_node_goes_on_at_the_other",
                    "nats_resume::a_client_of_a_drained_node_goes_on_at_the_other"], ""),
    ("drain-01", &["shutdown::the_close_event_is_last_and_comes_in_the_same_tick",
                   "sockets::a_stream_is_kept_alive_and_ends_well_on_every_way_to_serve_it"], ""),
    ("drain-03", &["farewells::half_an_event_is_never_made_whole"], ""),
    ("drain-04", &["shutdown::a_stream_that_ends_in_the_tick_of_the_signal_ends_once"], ""),
    ("drain-05", &["draining::an_event_source_is_refused_with_an_event",
                   "draining::a_client_that_does_not_accept_events_gets_503",
                   "shutdown::nothing_but_the_farewell_is_polled_for_if_the_signal_came_first"], ""),
    ("drain-06", &["shutdown::no_comment_follows_a_close_event"], ""),
    ("drain-09", &["shutdown::the_close_event_is_last_and_comes_in_the_same_tick",
                   "shutdown::a_stream_that_waits_is_woken"], ""),
    ("drain-10", &["shutdown::settings_that_cannot_work_are_named"], ""),
    ("drain-11", &["drain_spread::ends_and_returns_are_spread_evenly"], ""),
    ("drain-13", &["drain_spread::ends_and_returns_are_spread_evenly"], ""),
    ("drain-14", &["deadline::the_server_is_over_by_the_deadline_whatever_clients_do",
                   "stalled::a_client_that_stops_during_a_drain_is_reported_as_stalled"], ""),
    ("drain-15", &["drain_threads::ten_thousand_streams_are_drained_in_one_tick_and_polled_once_each"], ""),
    ("drain-16", &["shutdown::a_drain_waits_for_bodies_that_are_not_polled_up_to_its_deadline",
                   "shutdown::the_report_adds_up"], ""),
    ("drain-18", &["shutdown::two_shutdowns_have_nothing_to_do_with_each_other"], ""),
    ("drain-19", &["drain_threads::streams_of_other_runtimes_are_drained"], ""),
    ("drain-20", &["notice::readiness_turns_at_the_trigger_and_stays_so"], ""),
    ("drain-21", &["mail::close_where_ends_those_and_only_those"], "hub"),
    ("drain-22", &["sockets::a_hundred_streams_of_one_connection_are_each_told_before_it_goes"], ""),
    ("drain-23", &["finish_within::a_route_may_finish_while_the_others_close_in_their_slot",
                   "finish_within::the_deadline_holds_whatever_the_limit"], ""),
    ("drain-25", &["drain_threads::streams_that_open_during_the_trigger_are_drained"], ""),
    ("max-age-02", &["rotation::ten_thousand_ends_are_uniform_over_the_window_and_none_is_late",
                     "rotation::the_place_is_restated_so_that_nothing_is_missed"], ""),
    ("max-age-04", &["expiry::an_expiry_can_be_given_by_any_clock",
                     "expiry::a_stream_on_an_expired_credential_has_only_its_farewell"], ""),
    ("registry-01", &["registry::a_stream_leaves_once_whatever_ends_it",
                      "service::a_call_that_is_given_up_lists_nothing"], ""),
    // The client's address is known to the connection only.
    ("registry-04", &["registry::a_snapshot_tells_all_of_a_stream"], "conn"),
    ("registry-07", &["benches/memory::main"], ""),
    ("slow-01", &["mail::a_mailbox_is_bounded_and_nobody_else_suffers",
                  "log_gaps::a_follower_that_falls_out_of_the_window_gets_a_gap"], ""),
    ("slow-02", &["log_stalled::one_stalled_follower_of_a_thousand_delays_no_other"], ""),
    ("slow-03", &["mail::a_stream_that_is_kicked_is_really_over"], ""),
    ("slow-04", &[], "hub"),
    ("slow-05", &["log_stalled::a_topic_that_nobody_reads_takes_no_more_than_its_window"], ""),
    ("limits-01", &["limit::each_key_has_a_cap_of_its_own_and_is_forgotten",
                    "limit_replace::the_oldest_of_the_key_is_told_and_the_new_one_is_let_in"], ""),
    ("limits-02", &["limit_leaks::ten_thousand_opens_and_aborts_leak_no_slot"], ""),
    ("limits-03", &["limit::others_beyond_the_cap_get_a_status_and_a_time"], ""),
    ("limits-04", &[], "limits"),
    ("limits-05", &["src::a_million_keys_leave_an_empty_map_and_its_memory",
                    "limit_leaks::a_hundred_thousand_users_leave_no_key"], ""),
    ("limits-06", &["limit_spread::the_retry_of_an_event_source_is_spread_evenly",
                    "limit_spread::retry_after_is_spread_over_the_seconds_of_the_default"], ""),
    ("guard-01", &["resume_in_browser::an_event_source_comes_back_to_a_finished_stream_once"], ""),
    // Readers that are built on fetch look like any other client: the application says which they
    // are.
    ("guard-02", &["htmx_in_browser::htmx_4_asks_at_most_twice_a_minute_and_not_at_all_if_it_closes",
                   "htmx_in_browser::htmx_2_stays_away_if_it_is_told_by_an_event",
                   "resume_end::htmx_is_told_by_a_close_event_unless_the_layer_says_else",
                   "resume_end::a_client_that_asks_for_ever_never_gets_the_stream_anew"], ""),
    ("guard-03", &["draining::an_event_source_is_refused_with_an_event"], ""),
    ("guard-04", &["resume_end::the_last_id_gets_204_and_the_handler_is_not_called",
                   "resume_end::the_close_event_has_an_id_of_its_own_and_is_the_last",
                   "resume_end::clients_that_loop_on_204_are_told_by_a_close_event",
                   "examples/resumable::finite_streams_close_and_the_close_events_id_gets_204"], ""),
    ("hub-01", &["log_order::a_hundred_subscribers_of_ten_publishers_see_one_order"], ""),
    ("hub-02", &["benches/followers::main",
                "hub_together::few_events_are_a_frame_each_that_all_followers_share",
                "hub_together::a_burst_is_one_frame_that_all_followers_share"], ""),
    ("hub-04", &["hub::a_filter_lets_only_what_fits_pass",
                 "log_order::patterns_fit_topics_that_are_born_later_and_no_others"], ""),
    ("hub-05", &[], "hub"),
    ("broker-01", &["redis_exactly_once::an_event_has_one_id_on_all_nodes",
                    "nats_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other",
                    "examples/node::a_client_of_a_drained_node_goes_on_at_the_other_by_redis",
                    "examples/node::a_client_of_a_drained_node_goes_on_at_the_other_by_nats"], ""),
    ("broker-02", &["redis_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other",
                    "nats_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other",
                    "redis_resume::a_client_of_a_drained_node_goes_on_at_the_other",
                    "nats_resume::a_client_of_a_drained_node_goes_on_at_the_other"], ""),
    ("broker-04", &["redis_gaps::every_cause_is_told_and_then_comes_what_there_is",
                    "nats_gaps::every_cause_is_told_and_then_comes_what_there_is"], ""),
    ("broker-05", &["redis_upstream::a_follower_that_does_not_read_delays_no_other_and_gets_all_that_is_left",
                    "redis_nodes::a_partition_of_ten_seconds_delays_and_loses_nothing",
                    "nats_nodes::a_partition_of_ten_seconds_delays_and_loses_nothing"], ""),
    ("grpc-01", &[], "dialects"),
    ("grpc-02", &[], "dialects"),
    ("ndjson-02", &[], "dialects"),
    ("ndjson-03", &[], "dialects"),
    ("mcp-01", &[], "dialects"),
    ("mcp-02", &[], "dialects"),
    ("mcp-03", &[], "dialects"),
    ("mcp-04", &[], "dialects"),
    ("llm-01", &[], "dialects"),
    ("llm-02", &[], "dialects"),
    ("client-01", &[], "client"),
    ("client-03", &[], "client"),
    ("client-05", &["sockets::an_event_comes_in_one_chunk"], "client"),
    ("client-07", &[], "client"),
];

/// The work that is still to come.
const LATER: &[&str] = &["", "resume", "hub", "limits", "dialects", "conn", "client"];

#[derive(Deserialize)]
struct Case {
    id: String,
}

#[test]
fn no_case_is_missing_and_none_is_unknown() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/behaviour.json")).unwrap();
    let cases: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let rows: BTreeSet<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(rows.len(), TABLE.len(), "a case has two rows");
    assert_eq!(rows, cases);
}

#[test]
fn every_case_is_shown_or_is_to_come() {
    for (case, tests, later) in TABLE {
        assert!(LATER.contains(later), "{case}: there is no work called {later}");
        assert!(!tests.is_empty() || !later.is_empty(), "{case}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    for (case, tests, _) in TABLE {
        for test in *tests {
            let (place, function) = test.split_once("::").unwrap();
            let declared = format!("fn {function}(");
            let sources = sources(place);
            assert!(!sources.is_empty(), "{case}: there is no {place}");
            let exists = sources.iter().any(|path| {
                let source = fs::read_to_string(path).unwrap();
                source.contains(&declared)
            });
            assert!(exists, "{case}: no {function} in {place}");
        }
    }
}

/// The files of `place`: a module of one of the test binaries, a bench, or all of `src`.
fn sources(place: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if place == "src" {
        return below(&root.join(place));
    }
    let paths = ["tests/it", "tests/programs", ""].into_iter().flat_map(|directory| {
        [format!("{directory}/{place}.rs"), format!("{directory}/{place}/mod.rs")]
    });
    let paths = paths.map(|path| root.join(path.trim_start_matches('/')));
    paths.filter(|path| path.is_file()).collect()
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}
