//! The library beside programs that it did not bring: browsers, brokers, clients, and its own
//! examples.
//!
//! `tests/run` installs them and builds the examples.

#![cfg(unix)]

mod harness;

mod accessibility;
mod calls;
mod clients;
mod demo_in_browser;
mod dialect_clients;
mod examples;
mod htmx_in_browser;
mod hub_finish;
mod json_schema;
mod last_events;
mod nats_away;
mod nats_cluster;
mod nats_exactly_once;
mod nats_forget;
mod nats_gaps;
mod nats_login;
mod nats_memory;
mod nats_nodes;
mod nats_once;
mod nats_readers;
mod nats_replay;
mod nats_restored;
mod nats_resume;
mod observe;
mod pages_hostile;
mod pages_obey;
mod pages_survive;
mod postgres_away;
mod postgres_costs;
mod postgres_exactly_once;
mod postgres_failover;
mod postgres_gaps;
mod postgres_nodes;
mod postgres_once;
mod postgres_pooled;
mod postgres_read;
mod postgres_restored;
mod postgres_resume;
mod postgres_rows;
mod postgres_schema;
mod postgres_tls;
mod proxies;
mod real_clients;
mod redis_away;
mod redis_changes;
mod redis_cluster;
mod redis_costs;
mod redis_exactly_once;
mod redis_failover;
mod redis_gaps;
mod redis_memory;
mod redis_nodes;
mod redis_once;
mod redis_patterns;
mod redis_read;
mod redis_resume;
mod redis_tls;
mod redis_upstream;
mod resume_in_browser;
mod rolling_deploy;
mod tabs_in_browser;
mod typescript;
