//! What a layer's services decide by: which stream a request goes on with, and what becomes of a
//! response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode, request};
use http_body::Body;
use tokio::runtime::Handle;

use super::body::ResumeBody;
use super::head::Head;
use super::kept::{End, Kept, Seat};
use super::key::ResumeKey;
use super::mark::{Kind, Mark, Place};
use super::reader::Reader;
use super::settings::{Finished, Settings};
use super::streams::Streams;
use super::task::drive;
use super::token::{Part, Token};
use super::writer::Writer;
use crate::event_log::{EventLog, Follow, Start, Step};
use crate::service::{framing, separate};
use crate::wire::{CloseReason, Event, EventId};

/// What a layer's services decide by.
pub(super) struct Shared<L> {
    pub(super) key: Arc<KeyOf>,
    pub(super) settings: Settings<L>,
    pub(super) streams: Arc<Streams<L>>,
}

pub(super) type KeyOf = dyn Fn(&request::Parts) -> Option<ResumeKey> + Send + Sync;

/// A request that may begin a stream, or go on with one.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) owner: Box<str>,
    method: Method,
    /// Where its client is, if that is somewhere.
    pub(super) at: Option<(Token, EventId)>,
    /// What it is answered if that is the end.
    finished: Finished,
}

impl Asked {
    /// The answer to one that has seen all.
    pub(super) fn over<B, L: EventLog>(&self, id: &EventId) -> Response<ResumeBody<B, L>> {
        let retry = match self.finished {
            Finished::NoContent => {
                let mut response = Response::new(ResumeBody::said(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                // Caches may keep a 204, and would give it to those who ask for a new stream.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                return response;
            }
            Finished::Close(retry) => retry,
        };
        let event = CloseReason::Finished.event("close").retry(retry).id(id);
        let mut response = Response::new(ResumeBody::said(event.encode()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

impl<L: EventLog> Shared<L> {
    /// What a request asks for; none for those that are not this layer's business.
    pub(super) fn asked(&self, parts: &request::Parts) -> Option<Asked> {
        if matches!(parts.method, Method::HEAD | Method::CONNECT) {
            return None;
        }
        let owner = (self.key)(parts)?.into_text()?;
        let at = match Start::of_request(&parts.headers, &parts.uri) {
            Start::After(id) => Token::split(&id),
            _ => None,
        };
        let finished = match at {
            Some(_) => (self.settings.finished)(parts),
            None => Finished::default(),
        };
        Some(Asked { owner, method: parts.method.clone(), at, finished })
    }

    /// The answer to one that comes back to a stream of this process.
    pub(super) fn answer<B>(&self, asked: &Asked) -> Option<Response<ResumeBody<B, L>>> {
        let (token, id) = asked.at.as_ref()?;
        let kept = self.streams.find(*token, &asked.owner, self.settings.remember)?;
        match kept.is_over_at(id) {
            Some(End::Finished) => return Some(asked.over(&token.on(id))),
            Some(_) => return None,
            None => {}
        }
        let seat = kept.join(Some(id))?;
        let follower = kept.log.follow((&kept.topic).into(), Start::After(id.clone()));
        let mut follower = Box::pin(follower);
        let mut noop = Context::from_waker(Waker::noop());
        let first = match follower.as_mut().poll_next(&mut noop) {
            // Of a stream of which nothing was lost: the id is no id of its own.
            Poll::Ready(Some(Step::Gap(_))) if kept.is_whole() => return None,
            Poll::Ready(first) => first,
            Poll::Pending => None,
        };
        go_on(asked, &kept.head, follower, first, Some(seat))
    }

    /// Keeps the stream of a response, if it is one.
    pub(super) fn begin<B>(
        &self,
        asked: &Asked,
        response: Response<B>,
    ) -> Response<ResumeBody<B, L>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (mut parts, body) = response.into_parts();
        if framing(&asked.method, &parts).is_none() {
            return Response::from_parts(parts, ResumeBody::plain(body));
        }
        let Some((kept, seat, runtime)) = self.keep(asked, Head::of(&parts)) else {
            return Response::from_parts(parts, ResumeBody::plain(body));
        };
        let Settings { linger, close_event, elsewhere, .. } = self.settings;
        let follower = Box::pin(kept.log.follow((&kept.topic).into(), Start::Earliest));
        let token = kept.token;
        let streams = Arc::downgrade(&self.streams);
        if !elsewhere.is_zero() {
            runtime.spawn(tell(Arc::clone(&kept), linger));
        }
        runtime.spawn(drive(kept, streams, body, linger, close_event));
        separate(&mut parts.extensions);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        Response::from_parts(parts, read(token, follower, None, Some(seat)))
    }

    fn keep(&self, asked: &Asked, head: Head) -> Option<(Arc<Kept<L>>, Seat<L>, Handle)> {
        let runtime = Handle::try_current().ok()?;
        let token = Token::random()?;
        let topic = token.topic(&asked.owner, Part::Events)?;
        let log = self.settings.log()?;
        let ahead = Place { events: self.settings.events, bytes: self.settings.bytes };
        let kept = Kept::new((token, asked.owner.clone()), head, (log, topic), ahead);
        let kept = Arc::new(kept);
        self.streams.forget_old(self.settings.remember);
        let seat = kept.join(None)?;
        self.streams.keep(&kept, self.settings.streams).then_some((kept, seat, runtime))
    }
}

/// The answer to one that comes back, with the first step behind its id if there is one by now.
pub(super) fn go_on<B, L: EventLog>(
    asked: &Asked,
    head: &Head,
    follower: Pin<Box<L::Follower>>,
    first: Option<Step>,
    seat: Option<Seat<L>>,
) -> Option<Response<ResumeBody<B, L>>> {
    let (token, id) = asked.at.as_ref()?;
    match first.as_ref().and_then(end) {
        Some(Kind::Finished) => Some(asked.over(&token.on(id))),
        // Who has all of one that failed or was given up begins anew.
        Some(_) => None,
        None => Some(head.response(read(*token, follower, first, seat))),
    }
}

fn read<B, L: EventLog>(
    token: Token,
    follower: Pin<Box<L::Follower>>,
    first: Option<Step>,
    seat: Option<Seat<L>>,
) -> ResumeBody<B, L> {
    ResumeBody::read(Reader::new(token, follower, first, seat))
}

/// How the stream has ended, if this is the mark at its end.
fn end(step: &Step) -> Option<Kind> {
    let Step::Event(event) = step else {
        return None;
    };
    let kind = Mark::of(event)?.0.kind;
    matches!(kind, Kind::Finished | Kind::Failed | Kind::Left).then_some(kind)
}

/// Writes the head of the response for other nodes.
async fn tell<L: EventLog>(kept: Arc<Kept<L>>, patience: Duration) {
    let (topic, text) = (kept.token.topic(&kept.owner, Part::Head), kept.head.to_text());
    if let (Some(topic), Some(text)) = (topic, text) {
        let mark = Mark { kind: Kind::Head, place: Place::default() };
        let mut writer = Writer::new(kept.log.clone(), topic, patience);
        // Without it other nodes do not know the stream, and call their handler.
        let _ = writer.write(mark, Event::new().data(text)).await;
    }
}
