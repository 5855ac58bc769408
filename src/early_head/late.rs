//! What becomes of an answer that comes when the head is sent.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::response::Parts;
use http::{Method, StatusCode};

use crate::dialect::Notice;
use crate::service::{LateBody, late_body};
use crate::wire::CloseReason;

/// What becomes of an answer that comes when the head is sent.
#[derive(Debug)]
pub(super) enum Late {
    /// Its body follows.
    Follow,
    /// It is told.
    Tell(Notice),
    /// Its body is read first.
    Read(Answer),
}

impl Late {
    /// What becomes of the answer with this head.
    pub(super) fn of(method: &Method, head: &Parts) -> Self {
        let problem = match late_body(method, head) {
            LateBody::Events => return Self::Follow,
            LateBody::Nothing => {
                return Self::Tell(Notice {
                    status: head.status,
                    ..Notice::new(CloseReason::Finished)
                });
            }
            LateBody::Json => return Self::Read(Answer::new(head)),
            LateBody::Encoded => "the answer is encoded, and no part of this stream",
            LateBody::Other => "the answer is no event stream",
        };
        Self::Tell(failed(head, Cow::Borrowed(problem)))
    }
}

/// An answer of JSON.
#[derive(Debug)]
pub(super) struct Answer {
    /// For what cannot be sent as it is.
    notice: Notice,
    is_success: bool,
    json: Vec<u8>,
    /// How many bytes more are taken.
    room: usize,
}

/// What is to be said of an answer of JSON.
#[derive(Debug)]
pub(super) enum Told {
    /// It is the data of an event.
    Event(String),
    Notice(Notice),
}

impl Answer {
    fn new(head: &Parts) -> Self {
        let notice = failed(head, Cow::Borrowed("the answer is no event stream"));
        Self { notice, is_success: head.status.is_success(), json: Vec::new(), room: MAX_ANSWER }
    }

    /// Takes bytes of the answer. False if it is too long.
    pub(super) fn read(&mut self, bytes: &Bytes) -> bool {
        // A frame without bytes counts as one, or there might be any number of them.
        let Some(room) = self.room.checked_sub(bytes.len().max(1)) else {
            return false;
        };
        self.room = room;
        self.json.extend_from_slice(bytes);
        true
    }

    /// What is told if the answer is whole.
    pub(super) fn whole(self) -> Told {
        match String::from_utf8(self.json) {
            Ok(json) if self.is_success && !json.trim().is_empty() => Told::Event(json),
            Ok(json) => Told::Notice(Notice { answer: Some(json.into()), ..self.notice }),
            Err(_) => Told::Notice(self.notice),
        }
    }

    /// What is told if it is not.
    pub(super) fn broken(self) -> Told {
        Told::Notice(self.notice)
    }
}

/// What is told of an answer that is no event stream.
fn failed(head: &Parts, problem: Cow<'static, str>) -> Notice {
    let status = head.status;
    if !(status.is_client_error() || status.is_server_error()) {
        let status = StatusCode::BAD_GATEWAY;
        return Notice { status, message: problem, ..Notice::new(CloseReason::Error) };
    }
    let (code, name) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let message = format!("the answer came with the status {code} {name}").trim_end().to_owned();
    let retry = retry_after(&head.headers);
    Notice { status, message: message.into(), retry, ..Notice::new(CloseReason::Error) }
}

/// The delay in whole seconds of a `Retry-After`. A date says nothing without a clock that agrees.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Larger than any error that an API tells, and small enough to be held for every request at once.
const MAX_ANSWER: usize = 64 * 1024;
