//! Carries out a plan on a response.

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::Body;

use super::carried::{Carried, carried, tell};
use super::early_head::take_early_head;
use super::head::{self, StreamKind};
use super::refusal::{Refusal, refuse, refuse_call, refuse_late};
use super::register::register;
use super::request::OuterPlan;
use crate::body::SseBody;
use crate::driver::{Around, Claim, Done, Registrations, Stream, StreamLink};
use crate::engine::{Engine, Position};
use crate::observe::{StreamObserver, Subject};
use crate::plan::{Plan, ResolvedPlan};
use crate::state::{Expiry, Permit};
use crate::sync::now;
use crate::wire::{Framing, Scanner};

/// Does what `asked` asks for and was not done further in, and tells the layers that are `outer`.
pub(super) fn respond<B>(
    asked: &Arc<OuterPlan>,
    outer: Option<&OuterPlan>,
    response: Response<B>,
    cx: &mut Context<'_>,
) -> Response<SseBody<B>>
where
    B: Body<Data = Bytes>,
{
    let (method, status) = (&asked.request.method, response.status());
    let Some(kind) = head::stream_kind(method, status, response.headers()) else {
        return response.map(|body| SseBody::plain(body, None));
    };
    let (head, body) = response.into_parts();
    let carried = carried(&body, &head.extensions);
    let left = asked.after_early_head();
    let asked = left.as_ref().unwrap_or(asked);
    let mut responder = Responder { asked, outer, head };
    let body = match (kind, carried) {
        (StreamKind::Framed(Framing::Calls(protocol)), carried) if protocol.has_unary_calls() => {
            responder.call(body, protocol, carried.into_link(), cx)
        }
        (StreamKind::Framed(framing), Carried::None) => responder.new_stream(body, framing),
        (StreamKind::Framed(framing), Carried::InBody(link)) => {
            responder.carried_stream(body, framing, &link)
        }
        (StreamKind::Framed(framing), Carried::InHead(link)) => {
            let body = responder.carried_stream(body, framing, &link);
            body.map(|body| body.with_claim(|| responder.claim(framing, &link)))
        }
        (StreamKind::Encoded, carried) => responder.encoded_stream(body, carried.into_link()),
    };
    match body {
        Ok(body) => Response::from_parts(responder.head, body),
        Err(refusal) => match kind {
            StreamKind::Framed(Framing::Calls(protocol)) => {
                refuse_call(responder.head, protocol, outer, &refusal)
            }
            _ => refuse(responder.head, asked, outer, &refusal),
        },
    }
}

/// What it takes to respond with a stream.
pub(super) struct Responder<'a> {
    pub(super) asked: &'a Arc<OuterPlan>,
    outer: Option<&'a OuterPlan>,
    head: Parts,
}

impl Responder<'_> {
    /// Does everything, for a stream that no layer further in has seen.
    fn new_stream<B: Body>(&mut self, body: B, framing: Framing) -> Result<SseBody<B>, Refusal> {
        let (asked, resolved) = (self.asked, &self.asked.resolved);
        let done = Done::new(Arc::clone(resolved));
        let expiry = self.expiry().filter(|_| resolved.plan.heeds_expiry());
        if resolved.plan.drives() || expiry.is_some() {
            let taken_back = asked.made().reclaim(&resolved.plan);
            let outer_drains = asked.outer_drains(&done);
            let mut registrations = register(&resolved.plan, asked, outer_drains, taken_back)?;
            registrations.early_head = take_early_head(&mut self.head.extensions);
            let observer = asked.made().reclaim_observer().unwrap_or_else(|| observe(asked));
            let link = StreamLink::of_stream(done, registrations, observer, expiry);
            self.set_head(&resolved.plan);
            return Ok(self.drive(body, framing, Arc::clone(resolved), link));
        }
        // Outer layers have to know what is off, too.
        let link = StreamLink::passive(done);
        self.tell(&link);
        Ok(self.pass(body, &resolved.plan, Some(link)))
    }

    /// Does what is left to do for the stream that the response carries.
    fn carried_stream<B: Body>(
        &mut self,
        body: B,
        framing: Framing,
        inner: &Arc<StreamLink>,
    ) -> Result<SseBody<B>, Refusal> {
        let asked = self.asked;
        let done = inner.done();
        let left = done.left_of_layer(&asked.resolved);
        let outer_drains = asked.outer_drains(&done);
        let registrations = register(&left, asked, outer_drains, Registrations::default())?;
        self.set_head(&left);
        let no_buffer = Plan { no_buffer: left.no_buffer.clone(), ..Plan::default() };
        let Around { mut plan, registrations, expiry } =
            inner.join(left, registrations, self.expiry());
        if !plan.drives() && expiry.is_none() {
            inner.note(&plan);
            self.tell(inner);
            return Ok(self.pass(body, &no_buffer, None));
        }
        // Whichever layer ends the stream, it does so in the same words.
        plan.dialect = inner.done().dialect().or(&asked.resolved.plan.dialect);
        let resolved = plan.resolve_as(&asked.resolved);
        let (resolved, observer) = match inner.is_passive() {
            true => (Arc::new(resolved), observe(asked)),
            false => (Arc::new(resolved.around_another()), StreamObserver::off()),
        };
        let done = inner.done().around(Arc::clone(&resolved));
        let link = StreamLink::of_stream(done, registrations, observer, expiry);
        Ok(self.drive(body, framing, resolved, link))
    }

    /// Does what can be done for a stream whose bytes cannot be read.
    ///
    /// It still counts against a limit, or a limit would hold for some streams only.
    fn encoded_stream<B: Body>(
        &mut self,
        body: B,
        inner: Option<Arc<StreamLink>>,
    ) -> Result<SseBody<B>, Refusal> {
        let asked = self.asked;
        asked.observer.passed_by(|| true, asked.request.uri.path());
        let Plan { no_buffer, limit, .. } = asked.resolved.plan.clone();
        let plan = Plan { no_buffer, limit, ..Plan::default() };
        let left = inner.as_ref().map_or_else(|| plan.clone(), |it| it.done().left_of(&plan));
        let taken_back = inner.is_none().then(|| asked.made().reclaim(&left).permit).flatten();
        let taken_back = taken_back.and_then(Permit::for_good);
        let permit = match left.limit.on() {
            Some(setting) => {
                let permit = taken_back
                    .or_else(|| asked.take_early()?.for_good())
                    .or_else(|| setting.limit.acquire_for_good(&asked.terms.key));
                Some(permit.ok_or_else(|| Refusal::full(&setting.limit))?)
            }
            None => None,
        };
        if left.no_buffer.on().is_some() {
            head::refuse_buffering_of_encoded(&mut self.head.headers);
        }
        let resolved = Arc::new(left.resolve_as(&asked.resolved));
        let link = StreamLink::passive(match &inner {
            Some(inner) => inner.done().around(resolved),
            None => Done::new(resolved),
        });
        self.tell(&link);
        Ok(match permit {
            Some(permit) => SseBody::counted(body, permit, link),
            None => SseBody::plain(body, Some(link)),
        })
    }

    fn drive<B: Body>(
        &mut self,
        body: B,
        framing: Framing,
        resolved: Arc<ResolvedPlan>,
        link: Arc<StreamLink>,
    ) -> SseBody<B> {
        head::prepare_for_changes(&mut self.head.headers);
        self.tell(&link);
        let position = self.asked.request.position();
        let stream = stream(self.asked, framing, resolved, position, link);
        SseBody::driven(body, stream)
    }

    /// A body whose bytes stay as they are.
    fn pass<B: Body>(&mut self, body: B, plan: &Plan, link: Option<Arc<StreamLink>>) -> SseBody<B> {
        self.set_head(plan);
        match plan.no_buffer.on() {
            Some(_) => SseBody::unsized_stream(body, link),
            None => SseBody::plain(body, link),
        }
    }

    fn set_head(&mut self, plan: &Plan) {
        if let Some(no_buffer) = plan.no_buffer.on() {
            head::refuse_buffering(&mut self.head.headers, *no_buffer);
        }
    }

    /// When the credential expires that the request or the response names.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        let of_response = self.head.extensions.get::<Expiry>().copied();
        Expiry::earliest(self.asked.terms.expiry, of_response)
    }

    pub(super) fn tell(&mut self, link: &Arc<StreamLink>) {
        tell(link, &mut self.head.extensions, self.outer.map(OuterPlan::made));
    }

    /// What is done if the body turns out to be another than that of `inner`: everything.
    fn claim(&self, framing: Framing, inner: &Arc<StreamLink>) -> Claim {
        let (asked, weak) = (Arc::clone(self.asked), Arc::downgrade(inner));
        let expiry = self.expiry().filter(|_| asked.resolved.plan.heeds_expiry());
        Claim::new(inner, framing, move |passed| {
            let resolved = Arc::clone(&asked.resolved);
            let mut taken_back = asked.made().reclaim(&resolved.plan);
            if let Some(inner) = weak.upgrade() {
                taken_back.complete(inner.reclaim(&resolved.plan)).leave(&resolved.plan);
            }
            let done = Done::new(Arc::clone(&resolved));
            let registrations =
                register(&resolved.plan, &asked, asked.outer_drains(&done), taken_back)
                    .map_err(|refusal| refuse_late(&asked, framing, &refusal))?;
            // Ids may have passed that nobody read.
            let position = if passed { Position::Unknown } else { asked.request.position() };
            let observer = asked.made().reclaim_observer().unwrap_or_else(|| observe(&asked));
            let link = StreamLink::of_stream(done, registrations, observer, expiry);
            Ok(stream(&asked, framing, resolved, position, link))
        })
    }
}

fn stream(
    asked: &OuterPlan,
    framing: Framing,
    resolved: Arc<ResolvedPlan>,
    position: Position,
    link: Arc<StreamLink>,
) -> Stream {
    let n = asked.resolved.next();
    let engine = Engine::new(Scanner::new(framing), resolved.engine(), n, position);
    Stream::new(resolved, engine, link)
}

pub(super) fn observe(asked: &OuterPlan) -> StreamObserver {
    let (method, path) = (&asked.request.method, asked.request.uri.path());
    asked.observer.open(Subject { label: asked.terms.label.as_str(), method, path }, now())
}
