//! How a stream ends: what is done at the end of its body, and what is sent last.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::splitter::{Room, Splitter};
use super::spread::Retry;
use super::{EndReason, Farewell, Output, Position, Settings};
use crate::wire::{CloseReason, LineEnd, Notation, Status};

/// How the body of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Clean,
    Failed,
}

/// Whether what a body ended with has to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassOn {
    Yes,
    No,
}

/// What is done with a stream whose body has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// The last event is whole.
    Close,
    /// The last event is whole without an end of its own, and held.
    SendTailAndClose,
    /// What is held is sent as it is, and the stream ends for this reason.
    SendTail(EndReason),
    /// The stream fails.
    Fail,
    /// An event that was too long to hold has no end, and nothing can be said in it.
    Cut,
}

impl AtEnd {
    pub(super) fn of(end: BodyEnd, splitter: &Splitter, settings: &Settings) -> Self {
        let is_call = matches!(splitter.notation(), Notation::Status(_));
        match end {
            BodyEnd::Clean if splitter.may_end_here() => Self::SendTailAndClose,
            BodyEnd::Clean if splitter.room() == Room::None => Self::Cut,
            BodyEnd::Clean if !splitter.in_event() => Self::Close,
            BodyEnd::Clean if settings.around_another => Self::SendTail(EndReason::Finished),
            // The client is to see that what came last is not whole.
            BodyEnd::Clean if is_call && settings.on_error.is_none() => {
                Self::SendTail(EndReason::Error)
            }
            // An end in the middle of an event is a failure, too.
            BodyEnd::Clean | BodyEnd::Failed => Self::Fail,
        }
    }
}

/// The farewell of a stream that fails. None if the failure itself has to be passed on.
pub(super) fn farewell_on_error<'a>(
    settings: &'a Settings,
    splitter: &Splitter,
    retry: Retry,
) -> Option<Cow<'a, Farewell>> {
    // After half an event, only the failure itself shows the client that the stream failed.
    if splitter.room() == Room::None {
        return None;
    }
    match (&settings.on_error, &settings.words, splitter.notation()) {
        (Some(farewell), ..) => Some(Cow::Borrowed(farewell)),
        (None, Some(words), Notation::Events(_)) => {
            let farewell = words.farewell(CloseReason::Error, Some(retry));
            // A dialect that has no word for it does not hide the failure.
            Some(farewell).filter(|it| !it.is_none()).map(Cow::Owned)
        }
        (None, ..) => None,
    }
}

/// The farewell of a stream whose body came to its own end, if it has one.
pub(super) fn farewell_at_end<'a>(
    settings: &'a Settings,
    splitter: &Splitter,
) -> Option<&'a Farewell> {
    // The status of a call that came to its own end is its own.
    let is_call = matches!(splitter.notation(), Notation::Status(_));
    settings.close_at_end.as_ref().filter(|_| !is_call)
}

/// What is sent last in a stream that the server ends with this farewell.
pub(super) fn last_output(
    settings: &Settings,
    splitter: &Splitter,
    position: &Position,
    farewell: &Farewell,
    reason: CloseReason,
    retry: Option<Retry>,
) -> Option<Output> {
    if let Notation::Status(_) = splitter.notation() {
        return last_status(splitter, farewell.status(reason, retry.map(Retry::delay)));
    }
    // Other framings have forms of their own.
    let words = settings.words.as_ref().filter(|_| splitter.has_events());
    let said = farewell.in_words(words, reason, retry);
    let bytes = said.encode(reason, retry, position, splitter.notation())?;
    Some(Output::Frame(match splitter.room() {
        Room::AfterLineEnd => after_line_end(splitter.line_end(), &bytes),
        Room::Here | Room::None => bytes,
    }))
}

/// The status that a stream ends with, if its framing has one and a place for it.
pub(super) fn last_status(splitter: &Splitter, status: Status) -> Option<Output> {
    match splitter.notation() {
        Notation::Status(protocol) => Output::last(status, protocol, splitter.room() == Room::Here),
        Notation::Events(_) | Notation::Lines | Notation::Records => None,
    }
}

/// These bytes after the end of the line that was sent before.
pub(super) fn after_line_end(line_end: LineEnd, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(line_end.as_str());
    frame.extend_from_slice(bytes);
    frame.freeze()
}

/// The `retry` of the close event of a stream that came to its own end. Clients that cannot be
/// stopped stay away for that long, and then ask once more.
pub(super) const FINISHED_RETRY: Duration = Duration::from_secs(24 * 60 * 60);
