//! The decisions of a layer's services: what a request asks for, and which response begins a
//! session.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode, request};
use http_body::Body;
use tokio::runtime::Handle;

use super::body::{ResumeBody, ResumeStream};
use super::ending::EndGuard;
use super::head::SavedHead;
use super::key::ResumeKey;
use super::node_task::NodeTimes;
use super::nodes::Nodes;
use super::pump::{self, PumpLimits};
use super::reader::ReaderStart;
use super::record::SessionEnd;
use super::session::{Session, SessionTiming};
use super::sessions::SessionMap;
use super::settings::{Finished, Join, ResumeSettings};
use super::token::{SessionToken, TOKEN_LEN, TopicPart};
use crate::dialect::Dialect;
use crate::event_log::{EventLog, Start};
use crate::observe;
use crate::service::{
    OuterTask, ToldFailure, dialect_inside, is_event_stream, prepare_for_changes, separate_response,
};
use crate::state::PermitLender;
use crate::sync::catch_panic;
use crate::wire::{CloseReason, EventId};

/// What the services of a layer share.
pub(super) struct Resumer<L> {
    pub(super) key: Arc<KeyFn>,
    pub(super) settings: ResumeSettings<L>,
    pub(super) sessions: Arc<SessionMap<L>>,
    pub(super) nodes: Arc<Nodes>,
}

pub(super) type KeyFn = dyn Fn(&request::Parts) -> Option<ResumeKey> + Send + Sync;

/// A request that begins or resumes a session.
#[derive(Clone, Debug)]
pub(super) struct ResumeRequest {
    pub(super) key: ResumeKey,
    method: Method,
    pub(super) last_event: Option<LastEvent>,
    /// From where the client joins a stream that runs, if it does.
    pub(super) join: Option<Join>,
    /// Whether the body tells of a failure by itself.
    pub(super) told_failure: ToldFailure,
    outer: Option<OuterTask>,
}

/// The last event that a client saw.
#[derive(Clone, Debug)]
pub(super) struct LastEvent {
    pub(super) session: SessionToken,
    /// Its id in the log.
    pub(super) id: EventId,
    /// The answer if it was the last one of its session.
    finished: Finished,
}

impl ResumeRequest {
    /// The answer with a stream of a session. The limit of a layer further out counts the session,
    /// and not this client too.
    pub(super) fn answer_with<B, L: EventLog>(
        &self,
        session: &Session<L>,
        stream: ResumeStream<L>,
    ) -> Response<ResumeBody<B, L>> {
        if let (Some(outer), Some(lender)) = (&self.outer, session.permit.upgrade()) {
            outer.lend(&lender);
        }
        session.head.response(ResumeBody::resumable(stream))
    }

    /// The dialect of the layers further out.
    pub(super) fn dialect(&self) -> Dialect {
        self.outer.as_ref().map(|outer| outer.dialect.clone()).unwrap_or_default()
    }

    /// The answer to a client that has seen the whole stream, which ends with this event.
    fn answer_finished<B, L: EventLog>(&self, last: &LastEvent) -> Response<ResumeBody<B, L>> {
        let retry = match last.finished {
            Finished::NoContent => {
                let mut response = Response::new(ResumeBody::fixed(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                // A cache may keep a 204, and would answer requests for a new stream with it.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                return response;
            }
            Finished::Close(retry) => retry,
        };
        let id = last.session.join(&last.id);
        let event = CloseReason::Finished.event("close").retry(retry);
        let event = event.encode_with_last_id(id.as_str()).unwrap_or_default();
        let mut response = Response::new(ResumeBody::fixed(event));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.dialect().add_headers(headers);
        response
    }

    /// The answer to a client that has all of a session which ended so. None if the request is to
    /// begin a new one, as after a session that failed or was given up.
    pub(super) fn answer_ended<B, L: EventLog>(
        &self,
        end: SessionEnd,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let last = self.last_event.as_ref()?;
        matches!(end, SessionEnd::Finished | SessionEnd::Stopped)
            .then(|| self.answer_finished(last))
    }
}

impl<L: EventLog> Resumer<L> {
    /// The key of a request. None if the function panics, too, which would take all streams of the
    /// connection along.
    pub(super) fn key_of(&self, parts: &request::Parts) -> Option<ResumeKey> {
        catch_panic(|| (self.key)(parts)).flatten()
    }

    /// What a request asks of the layer. None if it is not for the layer.
    pub(super) fn request(&self, parts: &request::Parts) -> Option<ResumeRequest> {
        if matches!(parts.method, Method::HEAD | Method::CONNECT) {
            return None;
        }
        let key = self.key_of(parts)?;
        let start = Start::of_request_with_names(&parts.headers, &parts.uri, TOKEN_LEN);
        let seen = match start {
            Start::After(id) => SessionToken::split(&id),
            _ => None,
        };
        let last_event = seen.map(|(session, id)| {
            let finished = catch_panic(|| (self.settings.finished)(parts));
            let finished = finished.unwrap_or_else(|| Finished::for_request(parts));
            LastEvent { session, id, finished }
        });
        let join = catch_panic(|| (self.settings.join)(parts)).flatten();
        let method = parts.method.clone();
        let outer = OuterTask::of(&parts.extensions);
        let told_failure = ToldFailure::within(&parts.extensions);
        Some(ResumeRequest { key, method, last_event, join, told_failure, outer })
    }

    /// Begins a session, if the response is a stream.
    pub(super) fn begin<B>(
        &self,
        request: &ResumeRequest,
        response: Response<B>,
    ) -> Response<ResumeBody<B, L>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (mut parts, body) = response.into_parts();
        if !is_event_stream(&request.method, &parts) {
            return Response::from_parts(parts, ResumeBody::plain(body));
        }
        let inside = dialect_inside(&body, &parts.extensions);
        let dialect = inside.unwrap_or_else(|| request.dialect());
        let begun = self.begin_session(request, SavedHead::of(&parts, &dialect), dialect);
        let Some(BegunSession { guard, stream, runtime, permit }) = begun else {
            return Response::from_parts(parts, ResumeBody::plain(body));
        };
        let ResumeSettings { linger, close_event, lease, remember, .. } = self.settings;
        if let (Some(outer), Some(permit)) = (&request.outer, &permit) {
            outer.lend(permit);
        }
        if let Some(nodes) = &guard.nodes {
            let (log, times) = (guard.session.log.clone(), NodeTimes { lease, remember });
            nodes.note_begin(&runtime, &self.sessions, log, times);
        }
        let drain = request.outer.as_ref().and_then(|outer| outer.drain.clone());
        let kept_in_log = self.settings.kept_in_log();
        let limits = PumpLimits { linger, permit, drain, kept_in_log };
        let told_failure = request.told_failure.clone();
        runtime.spawn(pump::run(guard, (body, told_failure), limits, close_event));
        separate_response(&mut parts.extensions);
        prepare_for_changes(&mut parts.headers);
        Response::from_parts(parts, ResumeBody::resumable(stream))
    }

    /// None if there is no runtime, no randomness, no log or one that panics, or no room, be it
    /// here or for a limit of a layer further out, which then refuses the stream.
    fn begin_session(
        &self,
        request: &ResumeRequest,
        head: SavedHead,
        dialect: Dialect,
    ) -> Option<BegunSession<L>> {
        let Ok(runtime) = Handle::try_current() else {
            observe::not_resumable("no_runtime");
            return None;
        };
        let token = SessionToken::random()?;
        let topic = token.topic(&request.key, TopicPart::Events)?;
        let log = self.settings.log()?;
        let buffer = self.settings.buffer;
        let permit = match &request.outer {
            Some(outer) => outer.acquire().ok()?,
            None => None,
        };
        let weak = permit.as_ref().map_or_else(Weak::new, Arc::downgrade);
        let timing = SessionTiming { buffer, linger: self.settings.linger };
        let name = (token, request.key.clone());
        let session = Session::new(name, head, (log, topic), dialect, timing, weak);
        let session = Arc::new(session);
        self.sessions.remove_old(self.settings.remember);
        let reader = session.add_reader(ReaderStart::Beginning)?;
        let ResumeSettings { max_sessions, max_of_principal, other_nodes, .. } = self.settings;
        let inserted = self.sessions.insert(&session, max_sessions, max_of_principal);
        if !inserted {
            observe::not_resumable("no_room");
            return None;
        }
        let nodes = (!other_nodes.is_zero()).then(|| Arc::clone(&self.nodes));
        let guard = EndGuard::new(Arc::clone(&session), Arc::downgrade(&self.sessions), nodes);
        let stream = ResumeStream::new(session.source(), Start::Earliest, reader);
        if !stream.has_follower() {
            observe::not_resumable("log_panicked");
            return None;
        }
        Some(BegunSession { guard, stream, runtime, permit })
    }
}

/// A session that has begun, the stream of its first reader, and what its pump needs.
struct BegunSession<L: EventLog> {
    guard: EndGuard<L>,
    stream: ResumeStream<L>,
    runtime: Handle,
    permit: Option<Arc<PermitLender>>,
}
