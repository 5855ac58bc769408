//! A watch in lines of JSON, as Kubernetes has it: objects as they change, and bookmarks in
//! silence.
//!
//! ```text
//! cargo run --example ndjson
//! curl -N 127.0.0.1:3000/watch     # on ctrl-c its last line is {"type":"close","reason":"shutdown"}
//! ```
//!
//! A client reads line by line. It comes back after a line of the type `close`, and knows of a
//! connection that was lost by the missing of it.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_sse::{KeepAliveLayer, Shutdown, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let shutdown = Shutdown::new();
    // Comments are for event streams. What is written here in silence is the stream's own to say.
    let bookmarks =
        KeepAliveLayer::every(Duration::from_secs(2)).json_line(r#"{"type":"BOOKMARK"}"#);
    let app = Router::new()
        .route("/watch", get(watch))
        .layer(SseLayer::new().keep_alive(bookmarks).shutdown(shutdown.clone()));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app)
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
}

async fn watch() -> impl IntoResponse {
    let changes = IntervalStream::new(interval(Duration::from_secs(5))).enumerate();
    let lines = changes.map(|(version, _)| {
        let line = serde_json::json!({ "type": "MODIFIED", "object": { "version": version } });
        Ok::<_, Infallible>(format!("{line}\n"))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines))
}
