//! What unit tests share with the tests in `tests/it`: the specification, and streams to try it with.

#![allow(dead_code, unreachable_pub, reason = "`tests/it` includes these files, too")]

pub mod oracle;
pub mod streams;
