//! The one service behind all layers.

mod head;
mod refusal;
mod request;
mod respond;

#[cfg(feature = "resume")]
pub(crate) use head::framing;
#[cfg(feature = "resume")]
pub(crate) use request::separate;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::SseBody;
use crate::observe::LayerObserver;
use crate::plan::{Plan, ResolvedPlan};
use crate::state::{Drain, Expiry, Label};
use request::{MadeStreams, OuterPlan, RequestInfo};

/// The service that all layers of this crate make.
///
/// On the way in it adds its layer's settings to what outer layers asked for; on the way out the
/// innermost one that sees an event stream carries out all of them.
#[derive(Clone)]
pub struct SseService<S> {
    inner: S,
    own: Arc<OwnPlan>,
}

/// A layer's settings, alone and completed.
#[derive(Debug)]
struct OwnPlan {
    plan: Plan,
    /// With no layer further out.
    alone: Arc<ResolvedPlan>,
    /// Within the layers further out that were met first, which mostly are the only ones: so a
    /// plan is completed once a server and not once a request.
    within: OnceLock<(Arc<ResolvedPlan>, Arc<ResolvedPlan>)>,
    observer: LayerObserver,
}

impl OwnPlan {
    fn within(&self, outer: &Arc<ResolvedPlan>) -> Arc<ResolvedPlan> {
        let complete = || Arc::new(self.plan.within(&outer.plan).resolve_as(&self.alone));
        let (known, resolved) = self.within.get_or_init(|| (Arc::clone(outer), complete()));
        if Arc::ptr_eq(known, outer) { Arc::clone(resolved) } else { complete() }
    }
}

/// Makes services with one plan. What they share is made once, also for routers that make a
/// service anew for every connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceFactory(Arc<OnceLock<Arc<OwnPlan>>>);

impl ServiceFactory {
    pub(crate) fn service<S>(&self, inner: S, plan: impl FnOnce() -> Plan) -> SseService<S> {
        let own = self.0.get_or_init(|| {
            let plan = plan();
            let alone = Arc::new(plan.clone().resolve());
            Arc::new(OwnPlan {
                plan,
                alone,
                within: OnceLock::new(),
                observer: LayerObserver::default(),
            })
        });
        SseService { inner, own: Arc::clone(own) }
    }
}

impl<S> SseService<S> {
    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Completes the plan with what outer layers asked for, and asks inner ones.
    fn ask<B>(&self, request: Request<B>) -> (Request<B>, OuterPlan, Option<MadeStreams>) {
        let outer = request.extensions().get::<OuterPlan>();
        let outer_made = outer.map(|outer| outer.made.clone());
        let resolved = outer
            .map_or_else(|| Arc::clone(&self.own.alone), |outer| self.own.within(&outer.resolved));
        let info = outer.map_or_else(
            || Arc::new(RequestInfo::of(&request)),
            |outer| Arc::clone(&outer.request),
        );
        let label = outer.map(|outer| outer.label.clone()).unwrap_or_default();
        let key = outer.map(|outer| outer.key.clone()).unwrap_or_default();
        let own = request.extensions().get::<Expiry>().copied();
        let expiry = Expiry::earliest(outer.and_then(|outer| outer.expiry), own);
        let mut asked = OuterPlan {
            resolved,
            request: info,
            label,
            key,
            expiry,
            outer_drains: outer.map(|outer| self.outer_drains(outer)).unwrap_or_default(),
            made: MadeStreams::default(),
            observer: self.own.observer.clone(),
        };
        let (mut parts, body) = request.into_parts();
        if let Some(label) = self.label(&parts) {
            asked.label = label;
        }
        if let Some(limit) = self.own.plan.limit.on() {
            asked.key = limit.key_of(&parts);
        }
        parts.extensions.insert(asked.clone());
        (Request::from_parts(parts, body), asked, outer_made)
    }

    /// The drains of outer layers, but for the one that is in the plan.
    fn outer_drains(&self, outer: &OuterPlan) -> Vec<Arc<Drain>> {
        let mut drains = outer.outer_drains.clone();
        let hidden = outer.resolved.plan.shutdown.beside(&self.own.plan.shutdown);
        drains.extend(hidden.on().map(|shutdown| Arc::clone(&shutdown.drain)));
        drains
    }

    /// The label, if it is this layer that lists streams.
    fn label(&self, parts: &http::request::Parts) -> Option<Label> {
        let registry = self.own.plan.registry.on()?;
        Some(registry.label.as_ref().map(|label| label(parts)).unwrap_or_default())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SseService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<SseBody<ResBody>>;
    type Error = S::Error;
    type Future = SseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (request, asked, outer) = self.ask(request);
        SseFuture { inner: self.inner.call(request), asked, outer }
    }
}

impl<S: fmt::Debug> fmt::Debug for SseService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of an [`SseService`]'s response.
    #[derive(Debug)]
    pub struct SseFuture<F> {
        #[pin]
        inner: F,
        asked: OuterPlan,
        // Where to say which stream was made, besides in the response.
        outer: Option<MadeStreams>,
    }
}

impl<F, B, E> Future for SseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<SseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(respond::respond(this.asked, this.outer.as_ref(), response)))
    }
}
