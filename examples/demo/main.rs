//! A page that shows what the layers do: a live feed, its bytes on the wire, the list of open
//! streams, and how streams are written to, closed and drained.
//!
//! ```text
//! cargo run --example demo
//! ```
//!
//! Then open <http://127.0.0.1:3000>, write into all streams, close one in the table, and shut the
//! server down: each stream ends with an event that says why. More streams for the table:
//!
//! ```text
//! curl -N 127.0.0.1:3000/events
//! curl -N 127.0.0.1:3000/silent
//! ```
//!
//! Ctrl-c, SIGTERM and the page's button say goodbye to all streams before the process ends, which
//! it does by the deadline whatever its clients do. `DRAIN_DEADLINE_MS` (2000) and `STALL_MS`
//! (5000) set how long it may take.

#[path = "../shared/mod.rs"]
mod shared;

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::num::ParseIntError;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::{Html, Sse, sse};
use axum::routing::{get, post};
use axum::{Json, Router, http::StatusCode};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_sse::{
    Event, EventIdLayer, EventName, Farewell, KeepAliveLayer, Registry, RegistryLayer, Shutdown,
    SseLayer, StreamId, StreamInfo,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::builder().count_events(true).build()?;
    let shutdown = Shutdown::builder()
        .deadline(millis("DRAIN_DEADLINE_MS", 2000)?)
        .stall_limit(millis("STALL_MS", 5000)?)
        .build()?;
    shared::serve(app(Demo { registry, shutdown: shutdown.clone() }), shutdown).await
}

fn millis(name: &str, default: u64) -> Result<Duration, ParseIntError> {
    env::var(name).map_or(Ok(default), |millis| millis.parse()).map(Duration::from_millis)
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Demo {
    registry: Registry,
    shutdown: Shutdown,
}

fn app(demo: Demo) -> Router {
    let layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(KEEP_ALIVE))
        .event_ids(EventIdLayer::sequential())
        .registry(RegistryLayer::new(demo.registry.clone()).label(label))
        .shutdown(demo.shutdown.clone());
    Router::new()
        .route("/", get(|| async { Html(include_str!("index.html")) }))
        .route("/events", get(events))
        .route("/silent", get(silent))
        .route("/streams", get(streams))
        .route("/streams/{id}/close", post(close))
        .route("/broadcast", post(broadcast))
        .route("/shutdown", post(shut_down))
        .layer(layer)
        .with_state(demo)
}

/// What the page calls itself, or else the program that asks.
fn label(request: &Parts) -> String {
    let query = request.uri.query().unwrap_or_default();
    let label = query.split('&').find_map(|pair| pair.strip_prefix("label="));
    let agent = || request.headers.get(USER_AGENT)?.to_str().ok();
    label.or_else(agent).unwrap_or_default().to_owned()
}

/// A coffee bar: three orders, a word when one is ready, and some seconds of quiet, which have
/// nothing but keepalives. The ids come from the layer.
async fn events() -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let events = stream::iter(0..).then(async |n: usize| {
        let pause = if n == 0 {
            0
        } else if n % 4 == 0 {
            5
        } else {
            1
        };
        sleep(Duration::from_secs(pause)).await;
        let coffee = |n: usize| MENU[n % MENU.len()];
        Ok(match n % 4 {
            3 => sse::Event::default().event("ready").data(format!("{} is ready", coffee(n - 2))),
            _ => sse::Event::default().data(format!("{}, please", coffee(n))),
        })
    });
    Sse::new(events.boxed())
}

/// Has nothing to say, so that all there is to see is the layers' work.
async fn silent() -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    Sse::new(stream::pending())
}

async fn streams(State(demo): State<Demo>) -> Json<Value> {
    let mut streams = demo.registry.snapshot();
    streams.sort_by_key(|stream| stream.started);
    Json(streams.iter().map(row).collect())
}

/// A row of the page's table.
fn row(stream: &StreamInfo) -> Value {
    json!({
        // A text, since JavaScript's numbers end at 53 bits.
        "id": stream.id.to_string(),
        "label": stream.label.as_str(),
        "path": &*stream.path,
        "age": stream.started.elapsed().as_secs(),
        "events": stream.events,
        "bytes": stream.bytes,
        "keepalives": stream.keepalives,
        "last_event_id": stream.last_event_id.as_ref().map(AsRef::<str>::as_ref),
        "state": stream.state.as_str(),
    })
}

async fn close(State(demo): State<Demo>, Path(id): Path<String>) -> StatusCode {
    let id = id.parse::<StreamId>();
    if id.is_ok_and(|id| demo.registry.close(id, Farewell::close())) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn broadcast(State(demo): State<Demo>, text: String) -> Json<Value> {
    let delivery = demo.registry.broadcast(Event::new().event(ANNOUNCEMENT).data(text));
    Json(json!({ "sent": delivery.sent, "dropped": delivery.dropped }))
}

/// The answer still arrives: the server ends when its last response has.
async fn shut_down(State(demo): State<Demo>) -> StatusCode {
    demo.shutdown.trigger();
    StatusCode::ACCEPTED
}

/// Short, so that there is something to see. The default of 15 seconds is for real servers.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

const ANNOUNCEMENT: EventName = EventName::from_static("announcement");

const MENU: [&str; 7] = [
    "Espresso",
    "Flat white",
    "Cortado",
    "Two cappuccinos",
    "Filter coffee",
    "Latte macchiato",
    "Ristretto",
];
