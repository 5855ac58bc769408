//! A feed that is watched: metrics for Prometheus, the open streams as JSON, traces on stderr.
//!
//! ```text
//! cargo run --example observe --features metrics,serde,tracing
//! curl -N '127.0.0.1:3000/feed?ms=500&user=me'
//! curl 127.0.0.1:3000/streams
//! curl 127.0.0.1:3000/metrics
//! ```
//!
//! Press ctrl-c while a feed is open: it says why it ended, on stderr as well.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{Sse, sse::Event};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use http::request::Parts;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_sse::{EventIdLayer, Registry, RegistryLayer, Shutdown, SseLayer, StreamInfo};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(io::stderr).init();
    let registry = Registry::new();
    let shutdown = Shutdown::new();
    let app = app(registry, &shutdown, prometheus()?);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app)
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
}

fn app(registry: Registry, shutdown: &Shutdown, metrics: PrometheusHandle) -> Router {
    let listed = RegistryLayer::new(registry.clone()).label(|request: &Parts| {
        let query = request.uri.query().unwrap_or_default();
        query.split('&').find_map(|pair| pair.strip_prefix("user=")).unwrap_or("nobody").to_owned()
    });
    // The ids are also what has events counted.
    let layer = SseLayer::new()
        .event_ids(EventIdLayer::sequential())
        .registry(listed)
        .shutdown(shutdown.clone());
    Router::new()
        .route("/feed", get(feed))
        .layer(layer)
        .route("/", get(async || "/feed /streams /metrics\n"))
        .route("/streams", get(streams).with_state(registry))
        .route("/metrics", get(async move || metrics.render()))
}

/// The recorder of the whole process. Without buckets of its own a histogram is a summary, which
/// cannot be added up over instances.
fn prometheus() -> Result<PrometheusHandle, BuildError> {
    let duration = Matcher::Full("tower_sse_duration_seconds".to_owned());
    let first_event = Matcher::Full("tower_sse_first_event_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &[1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0])?
        .set_buckets_for_metric(first_event, &[0.001, 0.01, 0.1, 1.0, 10.0])?
        .install_recorder()
}

async fn streams(State(registry): State<Registry>) -> Json<Vec<StreamInfo>> {
    Json(registry.snapshot())
}

#[derive(Debug, Deserialize)]
struct Pace {
    /// Milliseconds between two events.
    ms: Option<u64>,
    /// How many events; without it there is no end.
    n: Option<usize>,
}

async fn feed(Query(pace): Query<Pace>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let pause = Duration::from_millis(pace.ms.unwrap_or(1000).max(1));
    let ticks = IntervalStream::new(interval(pause)).take(pace.n.unwrap_or(usize::MAX));
    Sse::new(ticks.enumerate().map(|(n, _)| Ok(Event::default().data(format!("tick {n}")))))
}
