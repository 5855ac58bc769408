//! The server that acceptance programs drive with real clients and through real proxies.
//!
//! ```text
//! PORT=3000 cargo run --example acceptance
//! curl -N 127.0.0.1:3000/ticks
//! curl -X POST 127.0.0.1:3000/admin/shutdown
//! curl -X POST 127.0.0.1:3000/admin/resume
//! ```
//!
//! `DRAIN_WINDOW_MS` (500), `DRAIN_DEADLINE_MS` (2000) and `STALL_MS` (5000) set how long a drain
//! and a client that does not read may take.
//!
//! Handlers write raw bytes, some of them broken over chunks as badly as it gets. All else comes
//! from the layers: headers, the opening comment, keepalives, ids, counts, closing and draining,
//! and what a client missed.

mod chat;
mod resumable;
mod server;
mod streams;
mod times;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;

use server::Server;
use times::Times;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let times = Times::from_env()?;
    let server = Server::start(times)?;
    let app = app(&server);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    // A shutdown of no streams, to listen to signals and to end connections: those of streams come
    // and go, and connections stay.
    let signals = times.shutdown().build()?;
    axum::serve(signals.listen(listener), app)
        .with_graceful_shutdown(async move {
            signals.on_signals().await;
            server.shut_down();
        })
        .await?;
    Ok(())
}

/// What outlives a shutdown, around the streams of the moment.
fn app(server: &Server) -> Router {
    let (stats, shutdown, resume, streams) =
        (server.clone(), server.clone(), server.clone(), server.clone());
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/stats", get(|| async move { stats.stats() }))
        .route(
            "/admin/shutdown",
            post(|| async move {
                shutdown.shut_down();
                StatusCode::ACCEPTED
            }),
        )
        .route(
            "/admin/resume",
            post(|| async move {
                match resume.resume() {
                    Ok(()) => StatusCode::NO_CONTENT,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }),
        )
        .fallback(any(|request| async move { streams.call(request).await }))
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>tower-sse acceptance server</title>
<link rel="icon" href="data:,">
<h1>Demo page</h1>
<pre id="feed"></pre>
<script>
  const show = ({ type, lastEventId, data }) => {
    const feed = document.getElementById("feed");
    feed.textContent = `${lastEventId} ${type} ${data}\n${feed.textContent}`.slice(0, 2000);
  };
  const source = new EventSource("/ticks");
  source.onmessage = show;
  source.addEventListener("draining", show);
  // On a shutdown the server says close, and this page comes back for the new process.
  source.addEventListener("close", show);
</script>
</html>
"#;
