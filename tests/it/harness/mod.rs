//! What several of the tests share.

#![allow(unreachable_pub, reason = "`tests/programs` includes some of these files, too")]
#![cfg_attr(
    not(all(feature = "axum", feature = "metrics", feature = "resume", feature = "tracing")),
    allow(dead_code, reason = "tests of features that are off use the rest")
)]

use std::time::Duration;

pub mod bodies;
pub mod cases;
pub mod chunked;
#[cfg(feature = "schema")]
#[allow(dead_code, reason = "`tests/programs` alone sends the values")]
pub mod contracts;
pub mod figures;
pub mod frames;
#[cfg(feature = "hub")]
pub mod history;
#[cfg(feature = "hub")]
pub mod hub;
pub mod layers;
pub mod net;
#[cfg(feature = "metrics")]
pub mod recorder;
#[cfg(feature = "resume")]
pub mod resume;
pub mod rig;
#[cfg(feature = "axum")]
pub mod server;
#[cfg(feature = "axum")]
pub mod slow;
#[path = "../../../src/support.rs"]
pub mod support;
pub mod thinking;
#[cfg(feature = "hub")]
pub mod topics;
pub mod wakes;

pub const SECOND: Duration = Duration::from_secs(1);

/// After so long a test has failed: far more than anything takes, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);
