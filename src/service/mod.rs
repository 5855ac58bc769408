//! The one service that all layers make, and how stacked layers work as one.
//!
//! Layers declare and one stream acts: however many layers there are, and whatever is between them,
//! the first layer that sees a stream does for it what all of them ask for.
//!
//! # On the way in
//!
//! A layer finds the [`OuterPlan`] of the next layer further out in the request's extensions,
//! completes it with its own settings, and puts it in that one's place. A layer finds none if it is
//! the outermost one, or if a middleware dropped the extensions.
//!
//! # On the way out
//!
//! The first layer that sees a stream carries out the whole plan it has, in a body with a
//! [`StreamLink`]. Layers further out have to know what was done, and for which response: a handler
//! may call a layered service of its own with its request, extensions and all, and answer with
//! another stream than that service did. So what was done counts only for the response that carries
//! the stream it was done for. A layer looks for that stream
//!
//! 1. in the body: it asks the body for its size, wrappers and boxes ask what they wrap, and a body
//!    of this crate that is asked so answers with its link. No middleware can fake or drop that;
//! 2. else in the response's extensions, where the inner layer has left a weak reference: some
//!    wrappers compute their size. A reference to a body that is over means nothing.
//!
//! If the response carries a stream, the layer does what is left to do:
//!
//! - the stream was not polled yet: it takes over the rest of the plan (the layer was not heard on
//!   the way in), and the body passes as it is;
//! - a middleware has read ahead: the rest is done by a second stream around it;
//! - the stream is in a registry or under a shutdown, and the layer has another one: both hold, and
//!   the second is a stream around the first.
//!
//! If the response carries none, the layer does everything. Whatever inner layers made for the
//! request is in the `OuterPlan` that it passed in: it takes back from them the registrations that
//! they took for it, so that a client counts once, however the handler uses its inner service. A
//! stream that the handler has begun to read keeps its place in registries and drains, as a stream
//! of its own.
//!
//! A refusal is a body with a link, too, with a plan in which everything is off.
//!
//! # Costs
//!
//! One layer pays for one question to the body and one weak reference. Between two layers with
//! nothing between them there is the lock of a link, once a response.

mod admission;
mod call;
mod carried;
mod early_head;
mod head;
mod refusal;
mod register;
mod request;
mod respond;
#[cfg(feature = "resume")]
mod separate;

#[cfg(feature = "resume")]
pub(crate) use early_head::ToldFailure;
pub(crate) use early_head::{
    EarlyHeadRequest, LateBody, accepts_events, late_body, may_begin_early,
};
#[cfg(feature = "resume")]
pub(crate) use head::{is_event_stream, prepare_for_changes};
#[cfg(feature = "resume")]
pub(crate) use refusal::last_words;
#[cfg(feature = "resume")]
pub(crate) use separate::{OuterTask, dialect_inside, separate_request, separate_response};

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
use crate::state::Expiry;
use crate::sync::Foreign;
use admission::{EarlyRefusal, admit};
use carried::put;
use request::{EarlyPermit, OuterPlan, RequestInfo};

/// The service that all layers of this crate make.
///
/// It passes a request on with what its layer asks for, and does for the response what was not done
/// further in.
#[derive(Clone)]
pub struct SseService<S> {
    inner: S,
    own: Arc<OwnPlan>,
}

/// The plan of one layer.
#[derive(Debug)]
struct OwnPlan {
    plan: Plan,
    /// Something is asked of each request.
    reads_requests: bool,
    /// For requests without an outer plan.
    alone: Arc<ResolvedPlan>,
    /// The outer plan that was met first, and this plan within it. Mostly it is the only one, so a
    /// plan is completed once a server and not once a request.
    within: OnceLock<(Arc<ResolvedPlan>, Arc<ResolvedPlan>)>,
    observer: LayerObserver,
}

impl OwnPlan {
    fn within(&self, outer: &Arc<ResolvedPlan>) -> Arc<ResolvedPlan> {
        let complete = || {
            let all = self.plan.within(&outer.plan).resolve_as(&self.alone);
            Arc::new(all.completing(&self.plan, outer))
        };
        let (known, resolved) = self.within.get_or_init(|| (Arc::clone(outer), complete()));
        if Arc::ptr_eq(known, outer) { Arc::clone(resolved) } else { complete() }
    }
}

/// Adds what gives the inner service of a service, which is of the type `S`.
macro_rules! inner_service_accessors {
    () => {
        /// A reference to the service inside.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// A mutable reference to the service inside.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the service inside.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
pub(crate) use inner_service_accessors;

/// Makes the services of one layer. What they share is made once, also for routers that make a
/// service anew for each connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceFactory(Arc<OnceLock<Arc<OwnPlan>>>);

impl ServiceFactory {
    pub(crate) fn service<S>(&self, inner: S, plan: impl FnOnce() -> Plan) -> SseService<S> {
        let own = self.0.get_or_init(|| {
            let plan = plan();
            Arc::new(OwnPlan {
                alone: Arc::new(plan.clone().resolve()),
                reads_requests: plan.reads_requests(),
                plan,
                within: OnceLock::new(),
                observer: LayerObserver::default(),
            })
        });
        SseService { inner, own: Arc::clone(own) }
    }
}

impl<S> SseService<S> {
    inner_service_accessors!();
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

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let own = &self.own;
        let outer = request.extensions().get::<Arc<OuterPlan>>().cloned();
        let expiry = request.extensions().get::<Expiry>().copied();
        let outermost = || {
            let info = RequestInfo::of(request.method(), request.uri(), request.headers());
            OuterPlan::outermost(own, info, expiry)
        };
        let inner = |outer: &Arc<OuterPlan>| outer.inner(own, expiry);
        let mut asked = outer.as_ref().map_or_else(outermost, inner);
        let mut early = None;
        // To take a request apart costs as much as all the rest.
        if own.reads_requests {
            let (parts, body) = request.into_parts();
            asked.read(own, &parts);
            early = match admit(&own.plan, &mut asked, &parts) {
                Ok(early) => early,
                Err(refusal) => {
                    let call = Call::Refused { refusal: Some(refusal) };
                    return SseFuture { call, asked: Arc::new(asked), outer };
                }
            };
            request = Request::from_parts(parts, body);
        }
        let asked = Arc::new(asked);
        // For inner layers.
        put(request.extensions_mut(), Arc::clone(&asked));
        let call = Call::Inner { future: Foreign::new(self.inner.call(request)), early };
        SseFuture { call, asked, outer }
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
        call: Call<F>,
        asked: Arc<OuterPlan>,
        // The plan of the next layer further out, which looks there for streams that were made.
        outer: Option<Arc<OuterPlan>>,
    }
}

pin_project! {
    #[project = CallProjection]
    #[derive(Debug)]
    enum Call<F> {
        Inner {
            #[pin]
            future: Foreign<F>,
            early: Option<Arc<EarlyPermit>>,
        },
        // The handler does not run.
        Refused { refusal: Option<Box<EarlyRefusal>> },
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
        let outer = this.outer.as_deref();
        match this.call.project() {
            CallProjection::Inner { future, early } => {
                let response = ready!(future.poll(cx));
                // Unless a stream takes it, it is released as soon as that is known.
                let _early = early.take();
                Poll::Ready(Ok(respond::respond(this.asked, outer, response?, cx)))
            }
            CallProjection::Refused { refusal } => {
                let refusal = refusal.take().expect("polled after completion");
                Poll::Ready(Ok(refusal.respond(this.asked, outer)))
            }
        }
    }
}
