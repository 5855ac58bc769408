//! The routes of the gateway, and the layers around each.

use std::env;
use std::num::ParseIntError;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use tower_sse::resume::ResumeKey;
use tower_sse::{
    Dialect, EarlyHeadLayer, InvalidSetting, KeepAliveLayer, Limit, LimitLayer, ResumeLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use super::forward::{Upstream, forward};
use super::plans::{Customer, Streams, admit};

/// One API a path, with the words of its own.
pub(super) fn routes(
    upstream: Uri,
    shutdown: &Shutdown,
    times: Times,
) -> Result<Router, InvalidSetting> {
    // A key has one count, whichever API it is used with.
    let limit = Limit::builder().max(10_000).per_key_with(|request| {
        let customer = request.extensions.get::<Customer>();
        customer.map_or((None, 0), |customer| (Some(customer.key), customer.streams))
    });
    let limit = limit.retry(Duration::from_secs(1)..=Duration::from_secs(3)).build()?;
    // An answer that is refused is not asked for at all: models are paid by the word.
    let limit = LimitLayer::new(limit).before_handler(streams);
    // Half an answer is worth nothing.
    let finish = ShutdownLayer::new(shutdown.clone()).finish_within(times.finish);

    let early =
        EarlyHeadLayer::after(times.thinking).for_requests(streams).give_up_after(times.silence);

    let upstream = Upstream::new(upstream);
    let api = |path, dialect: Dialect| {
        let layers = SseLayer::new()
            .dialect(dialect.clone())
            .keep_alive(times.keep_alive())
            .limit(limit.clone())
            .shutdown(finish.clone());
        Router::new()
            .route(path, post(forward))
            .layer(early.clone())
            .layer(ResumeLayer::new(resumable).linger(Duration::from_secs(60)))
            .layer(layers)
            .layer(from_fn_with_state(dialect.clone(), admit))
            .with_state((upstream.clone(), dialect))
    };
    Ok(Router::new()
        .merge(api("/v1/chat/completions", Dialect::openai_chat()))
        .merge(api("/v1/responses", Dialect::openai_responses()))
        .merge(api("/v1/messages", Dialect::anthropic())))
}

/// The SDKs do not ask for event streams by `Accept`, but in the body.
fn streams(request: &Parts) -> bool {
    request.extensions.get::<Streams>().is_some_and(|streams| streams.0)
}

/// Which answer, and whose.
fn resumable(request: &Parts) -> Option<ResumeKey> {
    let answer = request.headers.get("idempotency-key")?.to_str().ok()?;
    let customer = request.extensions.get::<Customer>()?;
    Some(ResumeKey::new(format!("{} {answer}", request.uri.path()), customer.key))
}

/// How long clients and models may be silent, and how long answers may go on in a drain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    thinking: Duration,
    keep_alive: Option<Duration>,
    silence: Duration,
    finish: Duration,
}

impl Times {
    pub(super) fn from_env() -> Result<Self, ParseIntError> {
        Ok(Self {
            thinking: millis("THINKING_MS")?.unwrap_or(Duration::from_secs(2)),
            keep_alive: millis("KEEP_ALIVE_MS")?,
            silence: millis("SILENCE_MS")?.unwrap_or(Duration::from_secs(600)),
            finish: millis("FINISH_MS")?.unwrap_or(Duration::from_secs(8)),
        })
    }

    fn keep_alive(self) -> KeepAliveLayer {
        let layer = self.keep_alive.map_or_else(KeepAliveLayer::new, KeepAliveLayer::every);
        // What keeps the client must not hide that the model is gone.
        layer.give_up_after(self.silence)
    }
}

fn millis(name: &str) -> Result<Option<Duration>, ParseIntError> {
    let millis = env::var(name).ok().map(|millis| millis.parse()).transpose()?;
    Ok(millis.map(Duration::from_millis))
}
