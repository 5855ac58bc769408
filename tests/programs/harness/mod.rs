//! What several of the tests share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "some of these files are those of `tests/it`, which uses all of them"
)]

use std::time::Duration;

pub mod bidi;
#[path = "../../it/harness/bodies.rs"]
pub mod bodies;
pub mod broker;
pub mod browser;
pub mod certificates;
pub mod chromium;
#[path = "../../it/harness/chunked.rs"]
pub mod chunked;
#[path = "../../it/harness/contracts.rs"]
pub mod contracts;
#[path = "../../it/harness/figures.rs"]
pub mod figures;
pub mod gaps;
pub mod hub_nodes;
pub mod llm;
pub mod nats;
#[path = "../../it/harness/net.rs"]
pub mod net;
pub mod nginx;
pub mod once;
pub mod pages;
pub mod patterns;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod reconnects;
pub mod redis;
pub mod redis_cluster;
#[path = "../../it/harness/resume.rs"]
pub mod resume;
pub mod resume_nodes;
pub mod sdk;
pub mod set_back;
pub mod site;
pub mod takeover;
pub mod tap;
#[path = "../../it/harness/topics.rs"]
pub mod topics;
pub mod two_nodes;

/// After so long a test has failed: far more than anything takes, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);
