//! Which session answers a request: one of this process, or one that the log has to be asked about.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;

use super::body::{ResumeBody, ResumeStream};
use super::caught::{LogAway, answer};
use super::reader::ReaderStart;
use super::record::{Record, SessionEnd};
use super::resumer::{LastEvent, ResumeRequest, Resumer};
use super::session::Session;
use super::settings::Join;
use crate::event_log::{EventLog, GapReason, Start, Step};
use crate::wire::EventId;

/// What a process has for a request.
#[expect(clippy::large_enum_variant, reason = "it is moved at once, and never kept")]
pub(super) enum Answer<B, L: EventLog> {
    Ready(Response<ResumeBody<B, L>>),
    /// The log has to be asked.
    Search(SearchFuture<B, L>),
    /// Nothing: the service inside is called.
    Inner,
}

/// An answer out of the log. None if the service inside is to be called.
pub(super) type SearchFuture<B, L> =
    Pin<Box<dyn Future<Output = Option<Response<ResumeBody<B, L>>>> + Send>>;

/// What a session of this process has for a client.
#[expect(clippy::large_enum_variant, reason = "it is moved at once, and never kept")]
enum Resumed<B, L: EventLog> {
    Response(Response<ResumeBody<B, L>>),
    /// The session has ended, and nothing was found after the client's id, which is not its last
    /// one. The log of a broker may not have been loaded, or the id may be that of no event.
    Unknown(Arc<Session<L>>),
    Nothing,
}

impl<L: EventLog> Resumer<L> {
    /// The answer to a client that comes back to a session, or joins one.
    pub(super) fn answer<B: Send + 'static>(
        self: &Arc<Self>,
        request: &ResumeRequest,
    ) -> Answer<B, L> {
        let unknown = match self.resume(request) {
            Resumed::Response(response) => return Answer::Ready(response),
            Resumed::Unknown(session) => Some(session),
            Resumed::Nothing => None,
        };
        let looks_elsewhere = !self.settings.other_nodes.is_zero();
        // A session with the client's id goes before one without.
        if unknown.is_none() && !(looks_elsewhere && request.last_event.is_some()) {
            if let Some(response) = self.join(request) {
                return Answer::Ready(response);
            }
            if !looks_elsewhere || request.join.is_none() {
                return Answer::Inner;
            }
        }
        Answer::Search(Box::pin(Arc::clone(self).search(request.clone(), unknown)))
    }

    /// The answer to a client whose session is not one of this process, as far as that knows.
    async fn search<B>(
        self: Arc<Self>,
        request: ResumeRequest,
        unknown: Option<Arc<Session<L>>>,
    ) -> Option<Response<ResumeBody<B, L>>> {
        if let Some(session) = unknown {
            if let Some(response) = self.resume_ended(&request, &session).await {
                return Some(response);
            }
        }
        match self.settings.other_nodes.is_zero() {
            true => self.join(&request),
            false => self.answer_from_other_nodes(request).await,
        }
    }

    /// The answer to a client that comes back to a session of this process.
    fn resume<B>(&self, request: &ResumeRequest) -> Resumed<B, L> {
        let resumed = |response: Option<_>| response.map_or(Resumed::Nothing, Resumed::Response);
        let Some(LastEvent { session, id, .. }) = &request.last_event else {
            return Resumed::Nothing;
        };
        let session = self.sessions.get(*session, &request.key, self.settings.remember);
        let Some(session) = session else {
            return Resumed::Nothing;
        };
        if let Some(end) = session.end_at(id) {
            return resumed(request.answer_ended(end));
        }
        let Some(mut stream) = Self::stream_after(&session, id) else {
            return Resumed::Nothing;
        };
        match stream.peek() {
            // The log lost nothing, so no event of the session had this id.
            Some(Step::Gap(gap)) if session.is_whole() && gap.reason != GapReason::Expired => {
                Resumed::Nothing
            }
            None if session.has_ended() => Resumed::Unknown(session),
            step => resumed(match step.and_then(end_of) {
                Some(end) => request.answer_ended(end),
                None => Some(request.answer_with(&session, stream)),
            }),
        }
    }

    /// The answer to a client that comes back to a session that has ended. None if the session
    /// never had an event with its id: then all events that the log has are before that.
    async fn resume_ended<B>(
        &self,
        request: &ResumeRequest,
        session: &Arc<Session<L>>,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let id = &request.last_event.as_ref()?.id;
        let from = Start::After(id.clone());
        let page = answer(|| session.log.read(&session.topic, from, 1)).await;
        let end = match page {
            // It may have ended since the client was known not to have all of it.
            Ok(page) if page.events.is_empty() && page.gap.is_none() => {
                return request.answer_ended(session.end_at(id)?);
            }
            Ok(page) => page.events.first().and_then(|event| end_of(&Step::Event(event.clone()))),
            // The client waits until the log is back.
            Err(LogAway) => None,
        };
        if let Some(end) = end {
            return request.answer_ended(end);
        }
        let stream = Self::stream_after(session, id)?;
        Some(request.answer_with(session, stream))
    }

    /// What a session of this process has after an id. None if it is too late.
    fn stream_after(session: &Arc<Session<L>>, id: &EventId) -> Option<ResumeStream<L>> {
        let reader = session.add_reader(ReaderStart::After(id))?;
        Some(ResumeStream::new(session.source(), Start::After(id.clone()), reader))
    }

    /// The answer to a client that joins a session of this process: that which began last.
    pub(super) fn join<B>(&self, request: &ResumeRequest) -> Option<Response<ResumeBody<B, L>>> {
        let join = request.join?;
        let sessions = self.sessions.running(&request.key);
        let (session, reader) = sessions.iter().rev().find_map(|session| {
            let start = match join {
                Join::FromBeginning => ReaderStart::Beginning,
                Join::FromNow => ReaderStart::Now,
            };
            Some((session, session.add_reader(start)?))
        })?;
        let stream = ResumeStream::new(session.source(), join.start(), reader);
        Some(request.answer_with(session, stream))
    }
}

/// How the session has ended, if this step says so.
fn end_of(step: &Step) -> Option<SessionEnd> {
    match step {
        Step::Event(event) => Record::split(event)?.0.kind.end(),
        Step::Gap(_) => None,
    }
}
