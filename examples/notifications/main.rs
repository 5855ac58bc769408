//! Notifications: each user sees what is for all, and what is for them, in one stream.
//!
//! ```text
//! cargo run --features schema --example notifications
//! ```
//!
//! Then open <http://127.0.0.1:3000/?user=ada> and, in another window,
//! <http://127.0.0.1:3000/?user=bob>. Without a browser:
//!
//! ```text
//! curl -N '127.0.0.1:3000/events?user=ada'
//! curl -d 'Lunch is ready' 127.0.0.1:3000/notify
//! curl -d 'Your parcel is here' 127.0.0.1:3000/notify/ada
//! ```
//!
//! Take the page offline for a while, in the browser's tools, and go on: what was missed comes
//! first. Stop the server and start it again: the page comes back by itself, and says that what was
//! kept in the old process's memory is gone.

#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_sse::event_log::{Start, Topic, Topics};
use tower_sse::hub::{Contract, Reference, Subscription};
use tower_sse::{Farewell, Hub, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    shared::serve(app(Hub::default(), shutdown.clone()), shutdown).await
}

fn app(hub: Hub, shutdown: Shutdown) -> Router {
    // The page comes back after a restart, so it is not told to stop.
    let closing = ShutdownLayer::new(shutdown).farewell(Farewell::reconnect());
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/notify", post(notify_all))
        .route("/notify/{user}", post(notify))
        .route("/reference", get(|| async { reference().to_markdown() }))
        .layer(SseLayer::new().shutdown(closing))
        .with_state(hub)
}

/// Something that the user should know; for all: `users.all`.
#[derive(Serialize, JsonSchema)]
struct Notification {
    text: String,
}

impl Contract for Notification {
    const EVENT: &'static str = "notification";
    const CHANNEL: &'static str = "users.*";
}

fn reference() -> Reference {
    Reference::new().with::<Notification>()
}

/// A real application takes the user from a session, and never from the query.
#[derive(Deserialize)]
struct User {
    #[serde(default)]
    user: String,
}

/// Rendered with its place in the stream: what is sent before it connects is not missed.
async fn page(
    State(hub): State<Hub>,
    Query(User { user }): Query<User>,
) -> Result<Html<String>, StatusCode> {
    let topics = topics(&user)?;
    let place = hub.latest(topics).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Html(include_str!("index.html").replace("{place}", place.as_str())))
}

async fn events(
    State(hub): State<Hub>,
    Query(User { user }): Query<User>,
    start: Start,
) -> Result<Subscription, StatusCode> {
    Ok(hub.subscribe(topics(&user)?).start(start))
}

async fn notify_all(state: State<Hub>, text: String) -> Result<String, StatusCode> {
    notify(state, Path("all".to_owned()), text).await
}

async fn notify(
    State(hub): State<Hub>,
    Path(user): Path<String>,
    text: String,
) -> Result<String, StatusCode> {
    let topic = topic(&user)?;
    let id = hub.publish_as(&topic, &Notification { text }).await;
    id.map(|id| format!("{id}\n")).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

fn topics(user: &str) -> Result<Topics, StatusCode> {
    let mut names = vec![topic("all")?];
    if !user.is_empty() {
        names.push(topic(user)?);
    }
    Topics::new(names).map_err(|_| StatusCode::BAD_REQUEST)
}

/// A name is one token, and `Topic` refuses wildcards: nobody can ask for another user's topic by a
/// name that is made up.
fn topic(user: &str) -> Result<Topic, StatusCode> {
    match user.contains('.') {
        true => Err(StatusCode::BAD_REQUEST),
        false => Topic::new(format!("users.{user}")).map_err(|_| StatusCode::BAD_REQUEST),
    }
}
