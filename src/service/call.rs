//! Carries out a plan on a call, whose answer may be one message or a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::refusal::Refusal;
use super::register::{obstacle, register};
use super::respond::{Responder, observe};
use crate::body::{SseBody, Whole};
use crate::driver::{Answer, Deferred, Done, Protocol, Registrations, Stream, StreamLink};
use crate::engine::{Engine, Position};
use crate::observe::StreamObserver;

impl Responder<'_> {
    /// Does what is left to do for a call, as soon as its answer turns out to be a stream.
    pub(super) fn call<B: Body<Data = Bytes>>(
        &mut self,
        body: B,
        protocol: Protocol,
        inner: Option<Arc<StreamLink>>,
        cx: &mut Context<'_>,
    ) -> Result<SseBody<B>, Refusal> {
        let asked = self.asked;
        let (resolved, done) = match &inner {
            None => (Arc::clone(&asked.resolved), Done::new(Arc::clone(&asked.resolved))),
            Some(inner) => {
                let left = inner.done().left_of_layer(&asked.resolved);
                if !left.drives() {
                    inner.note(&left);
                    self.tell(inner);
                    return Ok(SseBody::plain(body, None));
                }
                let resolved = Arc::new(left.resolve_as(&asked.resolved));
                (Arc::clone(&resolved), inner.done().around(resolved))
            }
        };
        let expiry = self.expiry().filter(|_| inner.is_none() && resolved.plan.heeds_expiry());
        let outer_drains = asked.outer_drains(&done);
        let link = StreamLink::passive(done);
        self.tell(&link);
        if !resolved.plan.drives() && expiry.is_none() {
            return Ok(SseBody::plain(body, Some(link)));
        }
        if let Some(obstacle) = obstacle(&resolved.plan, asked, outer_drains) {
            // A unary call is answered all the same.
            let answer = whole_answer(body, protocol, cx);
            return answer.map(SseBody::whole).ok_or_else(|| obstacle.refusal());
        }
        let (asked, taken) = (Arc::clone(asked), inner.is_none());
        let own = Arc::clone(&link);
        // The future that has it is over when the stream begins.
        let early = resolved.plan.limit.on().and_then(|_| asked.take_early());
        Ok(SseBody::deferred(
            body,
            Deferred::new(link, protocol, move |scanner| {
                let mut taken_back = match taken {
                    true => asked.made().reclaim(&resolved.plan),
                    false => Registrations::default(),
                };
                taken_back.permit = taken_back.permit.or(early);
                let done = own.done();
                let outer_drains = asked.outer_drains(&done);
                let registrations = register(&resolved.plan, &asked, outer_drains, taken_back)
                    .map_err(Refusal::counted_status)?;
                let observer = match taken {
                    true => asked.made().reclaim_observer().unwrap_or_else(|| observe(&asked)),
                    false => StreamObserver::off(),
                };
                let link = StreamLink::of_stream(done, registrations, observer, expiry);
                let n = asked.resolved.next();
                let engine = Engine::new(scanner, resolved.engine(), n, Position::None);
                Ok(Stream::new(Arc::clone(&resolved), engine, link))
            }),
        ))
    }
}

/// The whole of an answer of one message that is there at once. None if it is a stream.
fn whole_answer<B: Body<Data = Bytes>>(
    body: B,
    protocol: Protocol,
    cx: &mut Context<'_>,
) -> Option<Whole<B::Error>> {
    let (mut body, mut answer) = (Box::pin(body), Answer::new(protocol));
    let tells_size = body.size_hint().exact().is_some();
    let (mut frames, mut len) = (VecDeque::new(), 0);
    while let Some(frame) = match body.as_mut().poll_frame(cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => return None,
    } {
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            len += data.len().max(LEAST_OF_FRAME);
            if answer.read(data) || len > LONGEST_ANSWER {
                return None;
            }
        }
        let is_last = answer.is_over() || !frame.as_ref().is_ok_and(Frame::is_data);
        frames.push_back(frame);
        if is_last {
            break;
        }
    }
    Some(Whole { frames, tells_size })
}

/// What clients of gRPC take by default is 4 MiB, and this is what an answer is held up to.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024 + 64;

/// A frame counts as so many bytes at least: that is about what it is to be held, and there might
/// be any number of frames without bytes.
const LEAST_OF_FRAME: usize = 256;
