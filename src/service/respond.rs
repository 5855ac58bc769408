//! Carries out a plan on a response.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::Body;

use super::head::{self, StreamKind};
use super::refusal::{Refusal, refuse};
use super::request::{MadeStreams, OuterPlan, carried, tell};
use crate::body::SseBody;
use crate::driver::{Around, Done, Registrations, Stream, StreamLink};
use crate::engine::Engine;
use crate::observe::{StreamObserver, Subject};
use crate::plan::{Plan, ResolvedPlan};
use crate::state::Expiry;
use crate::sync::now;
use crate::wire::Framing;

/// Does what `asked` asks for and was not done further in, and tells `outer` layers of it.
pub(super) fn respond<B>(
    asked: &OuterPlan,
    outer: Option<&MadeStreams>,
    response: Response<B>,
) -> Response<SseBody<B>>
where
    B: Body<Data = Bytes>,
{
    let (mut head, body) = response.into_parts();
    let Some(kind) = head::stream_kind(&asked.request.method, &head) else {
        return Response::from_parts(head, SseBody::plain(body, None));
    };
    let carried = carried(&body, &mut head.extensions);
    let result = match (kind, carried) {
        (StreamKind::Encoded, carried) => encoded(asked, outer, &mut head, body, carried),
        (StreamKind::Framed(framing), None) => new(asked, outer, &mut head, body, framing),
        (StreamKind::Framed(framing), Some(link)) => {
            around(asked, outer, &mut head, body, framing, &link)
        }
    };
    match result {
        Ok(body) => Response::from_parts(head, body),
        Err(refusal) => refuse(head, &asked.request, outer, &refusal),
    }
}

/// Does everything for a stream that no layer further in has seen.
fn new<B: Body>(
    asked: &OuterPlan,
    outer: Option<&MadeStreams>,
    head: &mut Parts,
    body: B,
    framing: Framing,
) -> Result<SseBody<B>, Refusal> {
    let resolved = &asked.resolved;
    if let Some(no_buffer) = resolved.plan.no_buffer.on() {
        head::refuse_buffering(&mut head.headers, *no_buffer);
    }
    let expiry = Expiry::earliest(asked.expiry, head.extensions.get::<Expiry>().copied());
    let expiry = expiry.filter(|_| resolved.plan.heeds_expiry());
    let done = Done::new(Arc::clone(resolved));
    if !resolved.plan.drives() && expiry.is_none() {
        // Also where nothing is done: outer layers have to know what is off.
        let link = StreamLink::passive(done);
        tell(&link, &mut head.extensions, outer);
        return Ok(match resolved.plan.no_buffer.on() {
            Some(_) => SseBody::unsized_stream(body, Some(link)),
            None => SseBody::plain(body, Some(link)),
        });
    }
    let registrations = register(&resolved.plan, asked, asked.made.reclaim(&resolved.plan))?;
    let watch = asked.made.reclaim_watch().unwrap_or_else(|| open_watch(asked));
    let link = StreamLink::of_stream(done, registrations, watch, expiry);
    Ok(drive(asked, outer, head, body, framing, Arc::clone(resolved), link))
}

/// Does what is left for a stream that a layer further in has seen.
fn around<B: Body>(
    asked: &OuterPlan,
    outer: Option<&MadeStreams>,
    head: &mut Parts,
    body: B,
    framing: Framing,
    inner: &Arc<StreamLink>,
) -> Result<SseBody<B>, Refusal> {
    let left = inner.done().left_of(&asked.resolved.plan);
    if let Some(no_buffer) = left.no_buffer.on() {
        head::refuse_buffering(&mut head.headers, *no_buffer);
    }
    let expiry = Expiry::earliest(asked.expiry, head.extensions.get::<Expiry>().copied());
    let registrations = register(&left, asked, Registrations::default())?;
    let is_unsized = left.no_buffer.on().is_some();
    let Around { plan, registrations, expiry } = inner.join(left, registrations, expiry);
    if !plan.drives() && expiry.is_none() {
        if !plan.is_unset() {
            inner.note(&plan);
        }
        tell(inner, &mut head.extensions, outer);
        return Ok(match is_unsized {
            true => SseBody::unsized_stream(body, None),
            false => SseBody::plain(body, None),
        });
    }
    let resolved = plan.resolve_as(&asked.resolved);
    let (resolved, watch) = match inner.is_passive() {
        true => (Arc::new(resolved), open_watch(asked)),
        false => (Arc::new(resolved.around_another()), StreamObserver::off()),
    };
    let done = inner.done().around(Arc::clone(&resolved));
    let link = StreamLink::of_stream(done, registrations, watch, expiry);
    Ok(drive(asked, outer, head, body, framing, resolved, link))
}

fn drive<B: Body>(
    asked: &OuterPlan,
    outer: Option<&MadeStreams>,
    head: &mut Parts,
    body: B,
    framing: Framing,
    resolved: Arc<ResolvedPlan>,
    link: Arc<StreamLink>,
) -> SseBody<B> {
    head::prepare_for_changes(&mut head.headers);
    tell(&link, &mut head.extensions, outer);
    let n = asked.resolved.next();
    let engine = Engine::new(framing, resolved.engine(), n, asked.request.position());
    SseBody::driven(body, Stream::new(resolved, engine, link))
}

/// Does what can be done for a stream whose bytes cannot be read.
///
/// It counts against a limit all the same, or a limit would hold for some streams only.
fn encoded<B: Body>(
    asked: &OuterPlan,
    outer: Option<&MadeStreams>,
    head: &mut Parts,
    body: B,
    inner: Option<Arc<StreamLink>>,
) -> Result<SseBody<B>, Refusal> {
    asked.observer.passed_by(|| true, asked.request.uri.path());
    let Plan { no_buffer, limit, .. } = asked.resolved.plan.clone();
    let plan = Plan { no_buffer, limit, ..Plan::default() };
    let left = inner.as_ref().map_or(plan.clone(), |inner| inner.done().left_of(&plan));
    if left.no_buffer.on().is_some() {
        head::refuse_buffering_of_encoded(&mut head.headers);
    }
    let taken_back = match inner {
        None => asked.made.reclaim(&left).permit,
        Some(_) => None,
    };
    let permit = match left.limit.on() {
        Some(limit) => {
            let permit = taken_back.or_else(|| limit.acquire_for_good(&asked.key));
            Some(permit.ok_or_else(|| Refusal::full(limit))?)
        }
        None => None,
    };
    let resolved = Arc::new(left.resolve_as(&asked.resolved));
    let done = match &inner {
        Some(inner) => inner.done().around(resolved),
        None => Done::new(resolved),
    };
    let link = StreamLink::passive(done);
    tell(&link, &mut head.extensions, outer);
    Ok(match permit {
        Some(permit) => SseBody::counted(body, permit, link),
        None => SseBody::plain(body, Some(link)),
    })
}

fn open_watch(asked: &OuterPlan) -> StreamObserver {
    let (method, path) = (&asked.request.method, asked.request.uri.path());
    asked.observer.open(Subject { label: asked.label.as_str(), method, path }, now())
}

/// Puts the stream on the lists that it is not on yet, unless the server drains or has no room.
///
/// In an order in which nothing is seen of a stream that is refused: no drain waits for it, no
/// hook is called, and no older stream is replaced.
fn register(
    plan: &Plan,
    asked: &OuterPlan,
    mut registrations: Registrations,
) -> Result<Registrations, Refusal> {
    let shutdown = plan.shutdown.on().filter(|_| registrations.shutdown.is_none());
    let drain = shutdown.map(|shutdown| &shutdown.drain);
    if let Some(drain) = drain.into_iter().chain(&asked.outer_drains).find(|it| it.refuses(now())) {
        return Err(Refusal::draining(drain));
    }
    if let (Some(limit), None) = (plan.limit.on(), &registrations.permit) {
        let permit = limit.acquire(&asked.key).ok_or_else(|| Refusal::full(limit))?;
        registrations.permit = Some(permit);
    }
    if let Some(drain) = drain {
        // The drain may have begun since it was asked above; the permit is released then.
        let registration = drain.register().ok_or_else(|| Refusal::draining(drain))?;
        registrations.shutdown = Some(registration);
    }
    if let (Some(registry), None) = (plan.registry.on(), &registrations.registry) {
        let (method, path) = (asked.request.method.clone(), asked.request.uri.path());
        registrations.registry = registry.registry.register(asked.label.clone(), method, path);
    }
    if let (Some((_, stats)), Some(shutdown)) = (&registrations.registry, plan.shutdown.on()) {
        stats.set_drain(&shutdown.drain);
    }
    Ok(registrations)
}
