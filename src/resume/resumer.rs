//! The decisions of a layer's services: which session a request resumes, and which response begins
//! one.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode, request};
use http_body::Body;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::body::{ResumeBody, ResumeStream};
use super::head::SavedHead;
use super::key::{ResumeKey, SessionToken, TopicPart};
use super::pump::{self, PumpLimits};
use super::record::{LogProgress, Record, RecordKind, RecordWriter};
use super::session::{ReaderHandle, Session, SessionEnd, SessionTiming};
use super::sessions::SessionMap;
use super::settings::{Finished, ResumeSettings};
use crate::event_log::{EventLog, Follow, Start, Step};
use crate::service::{OuterTask, is_event_stream, separate};
use crate::state::PermitLender;
use crate::wire::{CloseReason, Decoder, Event, EventId};

/// What the services of a layer share.
pub(super) struct Resumer<L> {
    pub(super) key: Arc<KeyFn>,
    pub(super) settings: ResumeSettings<L>,
    pub(super) sessions: Arc<SessionMap<L>>,
}

pub(super) type KeyFn = dyn Fn(&request::Parts) -> Option<ResumeKey> + Send + Sync;

/// A request that begins or resumes a session.
#[derive(Clone, Debug)]
pub(super) struct ResumeRequest {
    /// The text of the [`ResumeKey`].
    key: Box<str>,
    method: Method,
    /// The last event that the client saw: its session, and its id in the log.
    pub(super) last_event: Option<(SessionToken, EventId)>,
    /// The answer if the client has seen the whole stream.
    finished: Finished,
    outer: Option<OuterTask>,
}

impl ResumeRequest {
    /// The answer to a client that has seen the whole stream.
    fn answer_finished<B, L: EventLog>(&self, id: &EventId) -> Response<ResumeBody<B, L>> {
        let retry = match self.finished {
            Finished::NoContent => {
                let mut response = Response::new(ResumeBody::fixed(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                // A cache may keep a 204, and would answer requests for a new stream with it.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                return response;
            }
            Finished::Close(retry) => retry,
        };
        let event = CloseReason::Finished.event("close").retry(retry).id(id);
        let mut response = Response::new(ResumeBody::fixed(event.encode()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// The answer to a client that comes back, where `first` is the first step after its id, if
    /// there is one yet. None if the request is to begin a new session.
    fn resume<B, L: EventLog>(
        &self,
        head: &SavedHead,
        follower: Pin<Box<L::Follower>>,
        first: Option<Step>,
        reader: Option<ReaderHandle<L>>,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let (token, id) = self.last_event.as_ref()?;
        match first.as_ref().and_then(end_kind) {
            Some(RecordKind::Finished) => Some(self.answer_finished(&token.join(id))),
            // The client has all of a stream that failed or was given up.
            Some(_) => None,
            None => {
                let stream = ResumeStream::new(*token, follower, first, reader);
                Some(head.response(ResumeBody::resumable(stream)))
            }
        }
    }
}

impl<L: EventLog> Resumer<L> {
    /// What a request asks of the layer. None if it is not for the layer.
    pub(super) fn request(&self, parts: &request::Parts) -> Option<ResumeRequest> {
        if matches!(parts.method, Method::HEAD | Method::CONNECT) {
            return None;
        }
        let key = (self.key)(parts)?.into_text()?;
        let last_event = match Start::of_request(&parts.headers, &parts.uri) {
            Start::After(id) => SessionToken::split(&id),
            _ => None,
        };
        let finished = match last_event {
            Some(_) => (self.settings.finished)(parts),
            None => Finished::default(),
        };
        let outer = OuterTask::of(&parts.extensions);
        Some(ResumeRequest { key, method: parts.method.clone(), last_event, finished, outer })
    }

    /// The answer to a client that comes back to a session of this process.
    pub(super) fn answer<B>(&self, request: &ResumeRequest) -> Option<Response<ResumeBody<B, L>>> {
        let (token, id) = request.last_event.as_ref()?;
        let session = self.sessions.get(*token, &request.key, self.settings.remember)?;
        match session.end_at(id) {
            Some(SessionEnd::Finished) => return Some(request.answer_finished(&token.join(id))),
            Some(_) => return None,
            None => {}
        }
        let reader = session.add_reader(Some(id))?;
        if let (Some(outer), Some(lender)) = (&request.outer, session.permit.upgrade()) {
            outer.lend(&lender);
        }
        let follower = session.log.follow((&session.topic).into(), Start::After(id.clone()));
        let mut follower = Box::pin(follower);
        let mut noop = Context::from_waker(Waker::noop());
        let first = match follower.as_mut().poll_next(&mut noop) {
            // The log lost nothing, so no event of the session had this id.
            Poll::Ready(Some(Step::Gap(_))) if session.is_whole() => return None,
            Poll::Ready(first) => first,
            Poll::Pending => None,
        };
        request.resume(&session.head, follower, first, Some(reader))
    }

    /// The answer to a client that comes back to a session of another node, which is looked for in
    /// a log that the nodes share.
    ///
    /// For a session of another key it takes the same time as for one that never was: neither has a
    /// topic under the request's key.
    pub(super) async fn answer_from_other_nodes<B>(
        self: Arc<Self>,
        request: ResumeRequest,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let (token, id) = request.last_event.clone()?;
        let deadline = Instant::now().checked_add(self.settings.other_nodes)?;
        let log = self.settings.log()?;

        let topic = token.topic(&request.key, TopicPart::Head)?;
        let mut follower = Box::pin(log.follow(topic.into(), Start::Earliest));
        let step = timeout_at(deadline, next_relevant(follower.as_mut())).await.ok()??;
        let head = read_head(&step)?;

        let topic = token.topic(&request.key, TopicPart::Events)?;
        let mut follower = Box::pin(log.follow(topic.into(), Start::After(id)));
        // If no event comes in that time, one may come later.
        let first = timeout_at(deadline, next_relevant(follower.as_mut())).await.ok().flatten();
        request.resume(&head, follower, first, None)
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
        let begun = self.begin_session(request, SavedHead::of(&parts));
        let Some(BegunSession { session, reader, runtime, permit }) = begun else {
            return Response::from_parts(parts, ResumeBody::plain(body));
        };
        let ResumeSettings { linger, close_event, other_nodes, .. } = self.settings;
        if let (Some(outer), Some(permit)) = (&request.outer, &permit) {
            outer.lend(permit);
        }
        let follower = Box::pin(session.log.follow((&session.topic).into(), Start::Earliest));
        let stream = ResumeStream::new(session.token, follower, None, Some(reader));
        if !other_nodes.is_zero() {
            runtime.spawn(write_head(Arc::clone(&session), linger));
        }
        let sessions = Arc::downgrade(&self.sessions);
        let drain = request.outer.as_ref().and_then(|outer| outer.drain.clone());
        let (is_shared, kept_in_log) = (!other_nodes.is_zero(), self.settings.kept_in_log());
        let limits = PumpLimits { linger, permit, drain, is_shared, kept_in_log };
        runtime.spawn(pump::run(session, sessions, body, limits, close_event));
        separate(&mut parts.extensions);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        Response::from_parts(parts, ResumeBody::resumable(stream))
    }

    /// None if there is no runtime, no randomness, no log, or no room, be it here or for a limit of
    /// a layer further out, which then refuses the stream.
    fn begin_session(&self, request: &ResumeRequest, head: SavedHead) -> Option<BegunSession<L>> {
        let runtime = Handle::try_current().ok()?;
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
        let session = Session::new((token, request.key.clone()), head, (log, topic), timing, weak);
        let session = Arc::new(session);
        self.sessions.remove_old(self.settings.remember);
        let reader = session.add_reader(None)?;
        let ResumeSettings { max_sessions, max_of_principal, .. } = self.settings;
        let inserted = self.sessions.insert(&session, max_sessions, max_of_principal);
        inserted.then_some(BegunSession { session, reader, runtime, permit })
    }
}

/// A session that has begun, its first reader, and what its pump needs.
struct BegunSession<L: EventLog> {
    session: Arc<Session<L>>,
    reader: ReaderHandle<L>,
    runtime: Handle,
    permit: Option<Arc<PermitLender>>,
}

/// How the session has ended, if this step says so.
fn end_kind(step: &Step) -> Option<RecordKind> {
    let Step::Event(event) = step else {
        return None;
    };
    let kind = Record::split(event)?.0.kind;
    let ends = matches!(kind, RecordKind::Finished | RecordKind::Failed | RecordKind::Abandoned);
    ends.then_some(kind)
}

/// The next step that is neither another writer's event nor a probe.
async fn next_relevant<F: Follow>(mut follower: Pin<&mut F>) -> Option<Step> {
    loop {
        let step = poll_fn(|cx| follower.as_mut().poll_next(cx)).await?;
        let is_relevant = match &step {
            Step::Event(event) => {
                Record::split(event).is_some_and(|(record, _)| record.kind != RecordKind::Probe)
            }
            Step::Gap(_) => true,
        };
        if is_relevant {
            return Some(step);
        }
    }
}

/// Writes the head of the response for other nodes.
async fn write_head<L: EventLog>(session: Arc<Session<L>>, patience: Duration) {
    let topic = session.token.topic(&session.key, TopicPart::Head);
    if let (Some(topic), Some(text)) = (topic, session.head.to_text()) {
        let record = Record { kind: RecordKind::Head, progress: LogProgress::default() };
        let mut writer = RecordWriter::new(session.log.clone(), topic, patience);
        // If it fails, other nodes do not know the session, and call their handler.
        let _ = writer.write(record, Event::new().data(text)).await;
    }
}

fn read_head(step: &Step) -> Option<SavedHead> {
    let Step::Event(event) = step else {
        return None;
    };
    let (_, rest) = Record::split(event).filter(|(record, _)| record.kind == RecordKind::Head)?;
    let events = Decoder::new().decode(&rest);
    SavedHead::from_text(&events.first()?.data)
}
