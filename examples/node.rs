//! One of several nodes that share a log: publish at any, follow at any, and go on at another.
//!
//! ```text
//! PORT=3001 LOG=redis://127.0.0.1:6379 cargo run --example node --features redis
//! PORT=3002 LOG=redis://127.0.0.1:6379 cargo run --example node --features redis
//! curl -N 127.0.0.1:3001/events/news
//! curl -d hello 127.0.0.1:3002/publish/news
//! ```
//!
//! `LOG=nats://127.0.0.1:4222` with the feature `nats` does the same with NATS JetStream, and
//! `LOG=postgres://postgres@127.0.0.1/app` with the feature `postgres` with PostgreSQL.
//! `LOG=memory`, the default, is a node by itself. On SIGTERM or ctrl-c its clients are told to
//! come back, spread over the drain window, and get from another node what they missed meanwhile.

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve};
use tokio::net::TcpListener;
use tower_sse::event_log::{EventLog, MemoryLog, Start, Topic};
use tower_sse::hub::Subscription;
use tower_sse::{Event, Farewell, Hub, Shutdown, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = env::var("LOG").unwrap_or("memory".to_owned());
    match log.split_once("://") {
        None if log == "memory" => node(MemoryLog::new()).await,
        #[cfg(feature = "nats")]
        Some(("nats", _)) => node(tower_sse::event_log::NatsLog::connect(&log).await?).await,
        #[cfg(feature = "postgres")]
        Some(("postgres", _)) => {
            node(tower_sse::event_log::PostgresLog::connect(&log).await?).await
        }
        #[cfg(feature = "redis")]
        Some(("redis", _)) => node(tower_sse::event_log::RedisLog::connect(&log).await?).await,
        _ => Err("LOG is none that this was built with: see its features".into()),
    }
}

async fn node(log: impl EventLog) -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    // A page stops at `close`, and this feed goes on at another node.
    let shutdown = Shutdown::builder().farewell(Farewell::reconnect()).build()?;
    let app = app(Hub::new(log), &shutdown);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    let until = shutdown.on_signals();
    serve(shutdown.listen(listener), app).with_graceful_shutdown(until).await?;
    Ok(())
}

fn app<L: EventLog>(hub: Hub<L>, shutdown: &Shutdown) -> Router {
    let events = get(events::<L>).layer(SseLayer::new().shutdown(shutdown.clone()));
    Router::new()
        .route("/events/{topic}", events)
        .route("/publish/{topic}", post(publish::<L>))
        .route("/", get(async || "/events/{topic} /publish/{topic}\n"))
        .with_state(hub)
}

async fn events<L: EventLog>(
    State(hub): State<Hub<L>>,
    Path(topic): Path<String>,
    start: Start,
) -> Result<Subscription<L>, (StatusCode, String)> {
    Ok(hub.subscribe(topic_of(&topic)?).start(start))
}

/// Answers with the id that the event got.
async fn publish<L: EventLog>(
    State(hub): State<Hub<L>>,
    Path(topic): Path<String>,
    data: String,
) -> Result<String, (StatusCode, String)> {
    // 503 also says that it is not known whether the event was published.
    let published = hub.publish(&topic_of(&topic)?, Event::new().data(data)).await;
    let id = published.map_err(|it| (StatusCode::SERVICE_UNAVAILABLE, it.to_string()))?;
    Ok(format!("{id}\n"))
}

fn topic_of(name: &str) -> Result<Topic, (StatusCode, String)> {
    Topic::new(name).map_err(|invalid| (StatusCode::NOT_FOUND, invalid.to_string()))
}
