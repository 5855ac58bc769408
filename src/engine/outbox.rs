//! What waits to be sent.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wire::{Protocol, Status};

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Output {
    Frame(Bytes),
    /// What the stream ends with, where its framing has a status in the trailers. It is the last
    /// output.
    Status(Box<Status>),
}

impl Output {
    /// What a call ends with. None where the status is a message, and there is no boundary on which
    /// it could be written.
    pub(crate) fn last(status: Status, protocol: Protocol, on_boundary: bool) -> Option<Self> {
        match status.last_message(protocol) {
            None => Some(Self::Status(Box::new(status))),
            Some(message) => on_boundary.then_some(Self::Frame(message)),
        }
    }
}

/// The frames that wait to be sent, and the status that is sent after them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    status: Option<Box<Status>>,
}

impl Outbox {
    pub(super) fn push(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
    }

    pub(super) fn put_back(&mut self, frame: Bytes) {
        self.frames.push_front(frame);
    }

    pub(super) fn end_with(&mut self, status: Box<Status>) {
        self.status = Some(status);
    }

    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// The status, once all frames are sent.
    pub(super) fn take_status(&mut self) -> Option<Box<Status>> {
        self.status.take_if(|_| self.frames.is_empty())
    }

    pub(super) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.status.is_none()
    }
}
