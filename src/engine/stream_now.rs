//! What is known of a stream when its timeouts are checked.

use std::time::Instant;

use super::Settings;
use super::silence::{Activity, Silence};
use super::splitter::Room;

/// Whether the body was polled before a timeout is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// The body was polled and has nothing.
    Pending,
    /// The body may have data. Then the stream is not silent, and no comment is written.
    Unknown,
}

/// What the timeouts of a stream depend on when they are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamNow<'a> {
    pub(super) settings: &'a Settings,
    /// The number of the stream.
    pub(super) n: u32,
    pub(super) now: Instant,
    pub(super) body: BodyState,
    pub(super) room: Room,
    /// How many events were counted.
    pub(super) events: u64,
    pub(super) silence: Option<Silence>,
    pub(super) activity: Activity,
}
