//! Puts a plan to work on a response that is a stream.

use std::sync::Arc;

use http::Response;
use http::header::CONTENT_LENGTH;

use super::request::{Asked, Call, Done};
use super::{head, refusal};
use crate::body::SseBody;
use crate::engine::Engine;
use crate::live::Label;
use crate::plan::{Plan, Setting, Settled};
use crate::stream::{Seats, Stream};

/// Carries out what is asked for and was not done further in.
pub(super) fn respond<B>(asked: &Asked, response: Response<B>) -> Response<SseBody<B>> {
    let (mut head, body) = response.into_parts();
    let Some(framing) = head::framing(&asked.call.method, &head) else {
        return Response::from_parts(head, SseBody::plain(body));
    };
    let settled = what_is_left(asked, head.extensions.get::<Done>());
    let done = match head.extensions.get::<Done>() {
        Some(done) => Arc::new(settled.plan.within(&done.0)),
        None => Arc::new(settled.plan.clone()),
    };
    // Also where nothing is left to do: that something is off has to be told, too.
    head.extensions.insert(Done(done));
    if settled.is_empty() {
        return Response::from_parts(head, SseBody::plain(body));
    }
    if let Some(no_buffer) = settled.no_buffer() {
        head::refuse_buffering(&mut head.headers, no_buffer);
    }
    if !settled.drives() {
        return Response::from_parts(head, SseBody::unsized_stream(body));
    }

    head.headers.remove(CONTENT_LENGTH);
    let Some(seats) = take_seats(&settled, &asked.call, &asked.label) else {
        let closing = settled.closing();
        let retry = closing.map(|closing| closing.drain.retry_refused()).unwrap_or_default();
        return refusal::draining(head, &asked.call, retry);
    };
    let engine =
        Engine::new(framing, Arc::clone(&settled.engine), settled.next(), asked.call.place());
    Response::from_parts(head, SseBody::driven(body, Stream::new(engine, settled, seats)))
}

/// What is asked for and was not done further in.
fn what_is_left(asked: &Asked, done: Option<&Done>) -> Arc<Settled> {
    let settled = &asked.settled;
    if let Some(Done(done)) = done {
        return Arc::new(settled.plan.without(done).settle());
    }
    let call = &asked.call;
    let listed = settled.enroll().is_some_and(|enroll| call.listed.is_on(&enroll.book.roster));
    let drained =
        settled.closing().is_some_and(|closing| call.drained.is_on(&closing.drain.roster));
    if !listed && !drained {
        return Arc::clone(settled);
    }
    let mut plan = Plan::clone(&settled.plan);
    if listed {
        plan.registry = Setting::Off;
    }
    if drained {
        plan.shutdown = Setting::Off;
    }
    Arc::new(plan.settle())
}

/// Puts the stream on the lists; none if the server drains.
fn take_seats(settled: &Settled, call: &Call, label: &Label) -> Option<Seats> {
    let mut seats = Seats::default();
    if let Some(closing) = settled.closing() {
        let seat = closing.drain.enter()?;
        call.drained.set(seat.id());
        seats.shutdown = Some(seat);
    }
    if let Some(enroll) = settled.enroll() {
        let (method, path) = (call.method.clone(), call.uri.path());
        if let Some((seat, profile)) = enroll.book.enter(label.clone(), method, path) {
            call.listed.set(seat.id());
            seats.registry = Some((seat, profile));
        }
    }
    Some(seats)
}
