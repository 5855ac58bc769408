//! What the library promises, a promise a test.
//!
//! No test here starts a program of its own: those are in `tests/programs`.

mod harness;

mod architecture;
#[cfg(feature = "axum")]
mod axum_handlers;
mod behaviour;
mod body;
mod calls;
mod claims;
#[cfg(feature = "client")]
mod client;
mod close_at_end;
mod compression;
#[cfg(feature = "axum")]
mod deadline;
mod dialect_headers;
mod dialect_requests;
mod dialect_words;
mod dialects;
mod drain_between;
mod drain_rate;
mod drain_spread;
mod drain_threads;
mod draining;
mod early_head;
mod early_head_late;
mod early_head_layers;
mod early_head_model;
mod early_head_sockets;
mod encode_cases;
mod event_ids;
mod expiry;
mod farewells;
mod finish_within;
mod finish_within_for;
mod force;
mod foreign;
mod grpc;
mod guarded;
mod heads;
mod hostile_peers;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_blocking;
#[cfg(feature = "hub")]
mod hub_conflation;
#[cfg(all(feature = "hub", feature = "json"))]
mod hub_contracts;
#[cfg(all(feature = "axum", feature = "hub"))]
mod hub_finish;
#[cfg(feature = "hub")]
mod hub_last;
#[cfg(feature = "hub")]
mod hub_names;
#[cfg(all(feature = "axum", feature = "hub"))]
mod hub_pages;
#[cfg(feature = "schema")]
mod hub_reference;
#[cfg(all(feature = "axum", feature = "hub"))]
mod hub_requested;
#[cfg(feature = "hub")]
mod hub_snapshot;
#[cfg(feature = "hub")]
mod hub_together;
mod idle;
mod inner_service;
mod inner_streams;
mod keep_alive;
mod limit;
mod limit_before_handler;
mod limit_layers;
mod limit_leaks;
mod limit_plans;
mod limit_replace;
mod limit_sockets;
mod limit_spread;
#[cfg(feature = "axum")]
mod listener;
#[cfg(feature = "hub")]
mod log_bounds;
#[cfg(all(feature = "hub", feature = "testing"))]
mod log_contract;
#[cfg(feature = "hub")]
mod log_exactly_once;
#[cfg(feature = "hub")]
mod log_gaps;
#[cfg(feature = "hub")]
mod log_model;
#[cfg(feature = "hub")]
mod log_once;
#[cfg(feature = "hub")]
mod log_order;
#[cfg(feature = "hub")]
mod log_read;
#[cfg(feature = "hub")]
mod log_stalled;
#[cfg(feature = "hub")]
mod log_topics;
mod mail;
mod mail_at_the_end;
mod manual;
#[cfg(all(feature = "axum", feature = "nats", feature = "postgres", feature = "redis"))]
#[cfg(feature = "resume")]
mod manual_defaults;
mod manual_figures;
mod manual_limits;
mod manual_links;
mod manual_wire;
mod manual_wire_heads;
#[cfg(feature = "hub")]
mod manual_wire_logs;
#[cfg(feature = "metrics")]
mod metrics;
mod ndjson;
mod nested_owners;
mod nesting;
#[cfg(feature = "resume")]
mod no_streams;
mod notice;
mod orders;
mod panics;
mod panics_twice;
mod panics_wakers;
#[cfg(feature = "axum")]
mod pre_stop;
mod public_names;
mod read_ahead;
mod reentrant;
mod refusal_after_head;
mod refusal_by_function;
mod refusals;
mod registry;
mod registry_threads;
mod report_threads;
#[cfg(feature = "resume")]
mod resume;
#[cfg(feature = "resume")]
mod resume_bounds;
#[cfg(feature = "resume")]
mod resume_dialects;
#[cfg(feature = "resume")]
mod resume_end;
#[cfg(feature = "resume")]
mod resume_exactly_once;
#[cfg(feature = "resume")]
mod resume_failing_log;
#[cfg(feature = "resume")]
mod resume_forgetful_log;
#[cfg(feature = "resume")]
mod resume_join;
#[cfg(feature = "resume")]
mod resume_layers;
#[cfg(feature = "resume")]
mod resume_long_ids;
#[cfg(all(feature = "axum", feature = "resume", feature = "testing"))]
mod resume_mcp;
#[cfg(feature = "resume")]
mod resume_nodes;
#[cfg(feature = "resume")]
mod resume_other_nodes;
#[cfg(feature = "resume")]
mod resume_panics;
#[cfg(feature = "resume")]
mod resume_principals;
#[cfg(feature = "resume")]
mod resume_room;
#[cfg(feature = "resume")]
mod resume_sockets;
#[cfg(feature = "resume")]
mod resume_states;
#[cfg(feature = "resume")]
mod resume_stop;
#[cfg(feature = "resume")]
mod resume_unkept;
mod rotation;
mod rotation_layers;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod shutdown;
mod sockets;
#[cfg(feature = "axum")]
mod stalled;
mod stalled_mark;
#[cfg(feature = "testing")]
mod testing;
#[cfg(feature = "tonic")]
mod tonic_server;
#[cfg(feature = "tonic")]
mod tonic_tls;
#[cfg(feature = "tracing")]
mod tracing;
mod wire_cases;
mod wire_in_layers;
