//! What several of the tests share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test is a crate of its own and uses a part of this"
)]

pub mod bodies;
pub mod broker;
pub mod cases;
pub mod net;
pub mod oracle;
pub mod process;
pub mod recorder;
pub mod rig;
pub mod slow;
pub mod streams;
