//! Ten tabs and one connection: tabs of an origin share it, and one of them leads.
//!
//! ```text
//! cargo run --example tabs
//! ```
//!
//! Then open <http://127.0.0.1:3000>. It has ten pages in it, which are to the browser what ten
//! tabs are; open some in tabs of their own, too. Close the one that leads: another takes over,
//! each has every number once, and the server has one stream all the time.

#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::REFERER;
use axum::http::request::Parts;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;
use tokio::time::interval;
use tower_sse::event_log::{MemoryLogError, Start, Topic};
use tower_sse::hub::Subscription;
use tower_sse::{Event, Farewell, Hub, Registry, RegistryLayer, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (hub, registry, shutdown) = (Hub::default(), Registry::new(), Shutdown::new());
    tokio::spawn(count(hub.clone(), registry.clone()));
    shared::serve(app(hub, &registry, shutdown.clone()), shutdown).await
}

fn app(hub: Hub, registry: &Registry, shutdown: Shutdown) -> Router {
    let closing = ShutdownLayer::new(shutdown).farewell(Farewell::reconnect());
    let listed = RegistryLayer::new(registry.clone()).label(tab_of);
    let layer = SseLayer::new().registry(listed).shutdown(closing);
    Router::new()
        .route("/", get(async || Html(include_str!("index.html"))))
        .route("/tab", get(tab))
        .route("/events", get(events))
        .layer(layer)
        .with_state(hub)
}

/// Which tab asks: a browser says from which page it does.
fn tab_of(request: &Parts) -> String {
    let page = request.headers.get(REFERER).and_then(|page| page.to_str().ok()).unwrap_or_default();
    page.split_once("name=").map_or("other", |(_, name)| name).to_owned()
}

/// A number a second, and which streams there are.
async fn count(hub: Hub, registry: Registry) -> Result<(), MemoryLogError> {
    let mut seconds = interval(Duration::from_secs(1));
    for number in 1_u64.. {
        seconds.tick().await;
        let streams: Vec<_> = registry.snapshot().iter().map(|it| it.label.to_string()).collect();
        let data = json!({ "number": number, "streams": streams }).to_string();
        hub.publish(&NUMBERS, Event::new().data(data)).await?;
    }
    Ok(())
}

/// Knows its place: what comes until it has found the others is not lost.
async fn tab(State(hub): State<Hub>) -> Result<Html<String>, StatusCode> {
    let place = hub.latest(NUMBERS).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Html(include_str!("tab.html").replace("{place}", place.as_str())))
}

async fn events(State(hub): State<Hub>, start: Start) -> Subscription {
    hub.subscribe(NUMBERS).start(start)
}

const NUMBERS: Topic = Topic::from_static("numbers");
