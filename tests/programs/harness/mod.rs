//! What several of the tests share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "some of these files are those of `tests/it`, which uses all of them"
)]

#[path = "../../it/harness/bodies.rs"]
pub mod bodies;
pub mod broker;
pub mod browser;
pub mod hub_nodes;
pub mod nats;
#[path = "../../it/harness/net.rs"]
pub mod net;
pub mod process;
pub mod redis;
#[path = "../../it/harness/resume.rs"]
pub mod resume;
pub mod resume_nodes;
pub mod tap;
