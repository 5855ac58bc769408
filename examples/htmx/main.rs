//! A coffee bar in HTML: what pages with htmx do with streams, once for htmx 2 and once for htmx 4.
//!
//! ```text
//! cargo run --example htmx
//! ```
//!
//! Then open <http://127.0.0.1:3000/2> and <http://127.0.0.1:3000/4> side by side: both follow the
//! same stream. A message is a fragment whose elements say where they belong (`hx-swap-oob`), so
//! one connection fills any number of places, and one message may fill several.
//!
//! | pattern | how |
//! | --- | --- |
//! | a feed, newest first | a message puts an item in, and takes the oldest out |
//! | figures | a message replaces elements by their ids |
//! | a room | a form posts, and the message comes back to all by the stream |
//! | notes | an event `note`, which the client script shows for some seconds |
//! | a task with an end | a stream of its own, whose last message replaces the element that connects; `Hub::finish` |
//!
//! Write `<b>` in the room: what guests write is text. Take a page offline and on again: it gets
//! what it missed. Stop the server and start it again: pages come back by themselves, are told that
//! what they missed is gone, and fetch the board anew.

mod board;
mod fragment;
#[path = "../shared/mod.rs"]
mod shared;
mod task;

use std::error::Error;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Form, Router};
use board::Board;
use fragment::fill;
use serde::Deserialize;
use shared::vendor::{HTMX_2, HTMX_2_SSE, HTMX_4, HTMX_4_SSE, scripts};
use tower_sse::event_log::Start;
use tower_sse::hub::Subscription;
use tower_sse::{EventId, Farewell, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    let board = Board::default();
    tokio::spawn(board.clone().open());
    shared::serve(app(board, shutdown.clone()), shutdown).await
}

fn app(board: Board, shutdown: Shutdown) -> Router {
    // Pages come back after a restart, so they are not told to stop.
    let closing = ShutdownLayer::new(shutdown).farewell(Farewell::reconnect());
    let layer = SseLayer::new().shutdown(closing);
    let tasks = Router::new()
        .route("/tasks/{id}", get(task::events))
        .route("/{htmx}/tasks", post(task::begin))
        .with_state(board.hub.clone());
    Router::new()
        .route("/", get(async || Redirect::to("/2")))
        .route("/{htmx}", get(page))
        .route("/{htmx}/board", get(part))
        .route("/events", get(events))
        .route("/room", post(say))
        .with_state(board)
        .merge(tasks)
        .layer(layer)
}

/// What differs between the two: how an element connects and to what, and how it hears of a gap.
struct Htmx {
    version: &'static str,
    other: &'static str,
    url: &'static str,
    connect: &'static str,
    gap: &'static str,
    task: &'static str,
}

impl Htmx {
    fn of(version: &str) -> Result<&'static Self, StatusCode> {
        match version {
            "2" => Ok(&TWO),
            "4" => Ok(&FOUR),
            _ => Err(StatusCode::NOT_FOUND),
        }
    }
}

/// Here the script is the connection: tabs share it, so its place is not part of its address.
static TWO: Htmx = Htmx {
    version: "2",
    other: "4",
    url: "/events",
    connect: r#"hx-ext="sse" sse-connect="/events" data-sse-last-event-id="{{place}}" sse-swap="message""#,
    gap: "sse:gap",
    task: r#"hx-ext="sse" sse-connect="/tasks/{{id}}?last_event_id=earliest" sse-swap="message" sse-close="close""#,
};

/// Named events are events of the element; messages without a name are swapped by themselves.
static FOUR: Htmx = Htmx {
    version: "4",
    other: "2",
    url: "/events?last_event_id={{place}}",
    connect: r#"hx-sse:connect="/events?last_event_id={{place}}""#,
    gap: "gap from:#board",
    task: r#"hx-sse:connect="/tasks/{{id}}?last_event_id=earliest" hx-sse:close="close""#,
};

async fn page(
    State(board): State<Board>,
    Path(version): Path<String>,
) -> Result<Html<String>, StatusCode> {
    let htmx = Htmx::of(&version)?;
    let scripts = match htmx.version {
        "2" => scripts(&[HTMX_2, HTMX_2_SSE]),
        _ => scripts(&[HTMX_4, HTMX_4_SSE]),
    };
    let (board, place) = board.render(htmx).await?;
    Ok(Html(fill(
        include_str!("page.html"),
        &[
            ("version", &htmx.version),
            ("other", &htmx.other),
            ("scripts", &scripts),
            ("status", &status(htmx, &place, IN_PLACE)),
            ("told", &fill(TOLD, &[("told", &""), ("place", &IN_PLACE)])),
            ("board", &board),
        ],
    )))
}

/// Which place a page had when it was told of a gap.
#[derive(Deserialize)]
struct Had {
    place: String,
}

/// The board anew, for a page that was told of a gap, with a word why.
async fn part(
    State(board): State<Board>,
    Path(version): Path<String>,
    Query(had): Query<Had>,
) -> Result<Html<String>, StatusCode> {
    let htmx = Htmx::of(&version)?;
    let (board, place) = board.render(htmx).await?;
    // The first half of an id is the log's, which lives in this process.
    let log = |id: &str| id.split_once('-').map(|(log, _)| log.to_owned());
    let told = match log(&had.place) == log(place.as_str()) {
        true => {
            "You were away for longer than the server remembers: this is the board as it is now."
        }
        false => "The server was started anew, without its memory: this is the new board.",
    };
    let told = fill(TOLD, &[("told", &told), ("place", &OUT_OF_BAND)]);
    Ok(Html(board + &status(htmx, &place, OUT_OF_BAND) + &told))
}

/// Where the client script writes how the board's connection is. Tasks have others.
fn status(htmx: &Htmx, at: &EventId, place: &str) -> String {
    let url = fill(htmx.url, &[("place", at)]);
    fill(STATUS, &[("url", &url), ("place", &place)])
}

async fn events(State(board): State<Board>, start: Start) -> Subscription {
    board.follow(start)
}

#[derive(Deserialize)]
struct Said {
    who: String,
    text: String,
}

/// Answers with an empty field. What was said comes by the stream, to the one that said it, too.
async fn say(
    State(board): State<Board>,
    Form(Said { who, text }): Form<Said>,
) -> Result<Html<String>, StatusCode> {
    let (who, text) = (who.trim(), text.trim());
    if who.is_empty() || text.is_empty() || who.len() > 40 || text.len() > 500 {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    board.say(who, text).await?;
    Ok(Html(board::field(OUT_OF_BAND)))
}

/// Has an element take the place of the one with its id, wherever that is in the page. What a page
/// begins with must not have it.
const OUT_OF_BAND: &str = r#"hx-swap-oob="true""#;
const IN_PLACE: &str = "";

const STATUS: &str = r#"<span id="status" role="status" data-sse-status="" data-sse-url="{{url}}" {{{place}}}>connecting</span>"#;
const TOLD: &str = r#"<p id="told" class="card" role="status" {{{place}}}>{{told}}</p>"#;

const SECOND: Duration = Duration::from_secs(1);
