//! A page with Alpine and no script of its own: one connection, and a list, figures and notes by
//! it.
//!
//! ```text
//! cargo run --features json --example alpine
//! ```
//!
//! Then open <http://127.0.0.1:3000> twice, and put something on the list. `$sse` of the client
//! script connects, and hands each event to the handler of its name; `$store.sse` is the state of
//! the connection. Stop the server and start it again: the page comes back, is told that the new
//! server does not know the old list, and fetches it anew.

#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::vendor::{ALPINE, scripts};
use tokio::sync::Mutex;
use tower_sse::event_log::{GapPolicy, Start, Topic};
use tower_sse::hub::Subscription;
use tower_sse::{Event, EventName, Farewell, Hub, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    shared::serve(app(shutdown.clone()), shutdown).await
}

fn app(shutdown: Shutdown) -> Router {
    // Pages come back after a restart, so they are not told to stop.
    let closing = ShutdownLayer::new(shutdown).farewell(Farewell::reconnect());
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/list", get(list))
        .route("/items", post(add))
        .route("/items/{id}/bought", post(buy))
        .layer(SseLayer::new().shutdown(closing))
        .with_state(Shop::default())
}

#[derive(Clone, Debug, Default)]
struct Shop {
    hub: Hub,
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    items: Vec<Item>,
    bought: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Item {
    id: u64,
    text: String,
}

async fn page() -> Html<String> {
    Html(include_str!("index.html").replace("{scripts}", &scripts(&[ALPINE])))
}

/// The list, and its place in the stream: a change is in one of them, and never in both, because
/// changes are made and published by the same lock.
async fn list(State(shop): State<Shop>) -> Result<Json<Value>, StatusCode> {
    let List { items, bought } = &*shop.list.lock().await;
    let place = shop.hub.latest(CHANGES).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({ "items": items, "bought": bought, "place": place.as_str() })))
}

async fn events(State(shop): State<Shop>, start: Start) -> Subscription {
    // After a gap the page fetches the list again, so it has no use for what is left of the past.
    shop.hub.subscribe(CHANGES).start(start).on_gap(GapPolicy::Live)
}

#[derive(Deserialize)]
struct Wanted {
    text: String,
}

async fn add(State(shop): State<Shop>, Form(Wanted { text }): Form<Wanted>) -> StatusCode {
    let text = text.trim();
    if text.is_empty() || text.len() > 100 {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let mut list = shop.list.lock().await;
    let id = list.items.last().map_or(list.bought + 1, |item| item.id + 1);
    let item = Item { id, text: text.to_owned() };
    list.items.push(item.clone());
    shop.publish(ADDED, &item).await
}

async fn buy(State(shop): State<Shop>, Path(id): Path<u64>) -> StatusCode {
    let mut list = shop.list.lock().await;
    let Some(at) = list.items.iter().position(|item| item.id == id) else {
        return StatusCode::NOT_FOUND;
    };
    let item = list.items.remove(at);
    list.bought += 1;
    shop.publish(BOUGHT, &item).await
}

impl Shop {
    async fn publish(&self, name: EventName, item: &Item) -> StatusCode {
        let Ok(event) = Event::json(item) else {
            return StatusCode::INTERNAL_SERVER_ERROR;
        };
        match self.hub.publish(&CHANGES, event.event(name)).await {
            Ok(_) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

const CHANGES: Topic = Topic::from_static("shop");
const ADDED: EventName = EventName::from_static("added");
const BOUGHT: EventName = EventName::from_static("bought");
