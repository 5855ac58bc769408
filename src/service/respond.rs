//! Puts a plan to work on a response that is a stream.

use std::sync::Arc;

use http::Response;
use http::header::CONTENT_LENGTH;
use http::response::Parts;

use super::refusal::{Refusal, refuse};
use super::request::{Done, OuterPlan, PlanReceipt, RequestInfo};
use super::{earlier, encoded, head};
use crate::body::SseBody;
use crate::driver::{LatePlan, Registrations, Stream};
use crate::engine::Engine;
use crate::observe::{Subject, Watch};
use crate::plan::{Plan, ResolvedPlan};
use crate::state::Expiry;
use crate::sync::now;

/// Carries out what is asked for and was not done further in.
pub(super) fn respond<B>(
    asked: &OuterPlan,
    outer: Option<&PlanReceipt>,
    response: Response<B>,
) -> Response<SseBody<B>> {
    let (mut head, body) = response.into_parts();
    let RequestInfo { method, uri, .. } = &*asked.call;
    let Some(framing) = head::framing(method, &head) else {
        let is_stream = || head::is_encoded_stream(method, &head);
        asked.observer.passed_by(is_stream, uri.path());
        return match asked.resolved.counts() && is_stream() {
            true => encoded::respond(asked, outer, head, body),
            false => Response::from_parts(head, SseBody::plain(body)),
        };
    };
    let inner = head.extensions.remove::<Done>().or_else(|| asked.answer.get());
    let resolved = match &inner {
        Some(done) => Arc::new(asked.resolved.plan.without(&done.plan).resolve()),
        None => Arc::clone(&asked.resolved),
    };
    let all = match &inner {
        Some(done) => resolved.plan.within(&done.plan),
        None => resolved.plan.clone(),
    };
    let tell = |head: &mut Parts, plan: Plan, stream: Option<Arc<LatePlan>>| {
        Done { plan: Arc::new(plan), stream }.tell(head, outer);
    };

    if let Some(no_buffer) = resolved.no_buffer() {
        head::refuse_buffering(&mut head.headers, no_buffer);
    }
    let known = inner.and_then(|done| done.stream);
    let said = earlier(asked.expiry, head.extensions.get::<Expiry>().copied());
    let expiry = said.filter(|_| all.heeds_expiry());
    match (&known, expiry) {
        (Some(stream), Some(expiry)) => stream.expire(expiry),
        (Some(stream), None) if !all.heeds_expiry() => stream.outlive(),
        _ => {}
    }
    if !resolved.drives() && (known.is_some() || expiry.is_none()) {
        // Also where nothing is left to do: that something is off has to be told, too.
        tell(&mut head, all, known);
        let body = match resolved.is_empty() {
            true => SseBody::plain(body),
            false => SseBody::unsized_stream(body),
        };
        return Response::from_parts(head, body);
    }

    head.headers.remove(CONTENT_LENGTH);
    let mut seats = match register(&resolved, asked) {
        Ok(seats) => seats,
        Err(refusal) => {
            // There is nothing in it for layers further out.
            tell(&mut head, Plan::off(), None);
            return refuse(head, &asked.call, &refusal);
        }
    };
    let joining = Arc::<LatePlan>::default();
    let begun = known.is_some();
    if let Some(stream) = known {
        // It is looked after already, and takes up what is left: so it is scanned once.
        match stream.join(Arc::new(all.clone().resolve()), seats) {
            Ok(()) => {
                tell(&mut head, all, Some(stream));
                return Response::from_parts(head, SseBody::unsized_stream(body));
            }
            // Something read ahead, and it has begun: what is left is done around it. Who is
            // further out cannot join in that, since what they leave is all that is asked.
            Err(unheard) => seats = unheard,
        }
        tell(&mut head, all, None);
    } else {
        tell(&mut head, all, Some(Arc::clone(&joining)));
    }
    // A stream that has begun has heard what its response says, and not what its request did.
    if let Some(expiry) = expiry.and(if begun { asked.expiry } else { said }) {
        joining.expire(expiry);
    }
    let place = asked.call.place();
    let subject = Subject { label: asked.label.as_str(), method, path: uri.path() };
    let watch = match begun {
        true => Watch::off(),
        false => asked.observer.open(subject, now()),
    };
    let n = asked.resolved.next();
    let resolved = if watch.is_on() { resolved.observed() } else { resolved };
    let engine = Engine::new(framing, resolved, n, place);
    let stream = Stream::new(engine, seats, joining, watch);
    Response::from_parts(head, SseBody::driven(body, stream))
}

/// Puts the stream on the lists, unless the server drains or has no room.
///
/// In an order in which others see nothing of a stream that is refused: no drain waits for it, no
/// hook is told, and no older stream goes for it.
fn register(resolved: &ResolvedPlan, asked: &OuterPlan) -> Result<Registrations, Refusal> {
    let mut seats = Registrations::default();
    let closing = resolved.closing();
    if let Some(closing) = closing.filter(|closing| closing.drain.refuses(now())) {
        return Err(Refusal::draining(&closing.drain));
    }
    if let Some(limit) = resolved.limit() {
        seats.slot = Some(limit.take(&asked.key).ok_or_else(|| Refusal::full(limit))?);
    }
    if let Some(closing) = closing {
        // It may have begun since it was asked above; the slot is given back then.
        let seat = closing.drain.enter().ok_or_else(|| Refusal::draining(&closing.drain))?;
        seats.shutdown = Some(seat);
    }
    if let Some(registry) = resolved.registry() {
        let (method, path) = (asked.call.method.clone(), asked.call.uri.path());
        seats.registry = registry.registry.enter(asked.label.clone(), method, path);
        if let (Some((_, stats)), Some(closing)) = (&seats.registry, resolved.closing()) {
            stats.ended_by(&closing.drain);
        }
    }
    Ok(seats)
}
