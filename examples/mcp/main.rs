//! An MCP server, made with rmcp, whose calls are answered before it goes away.
//!
//! ```text
//! cargo run --example mcp --features mcp
//! SHUTDOWN=graceful cargo run --example mcp --features mcp   # without the layers: ends in 5 minutes
//! SHUTDOWN=cancel cargo run --example mcp --features mcp     # without the layers: cuts calls
//! ```
//!
//! Its endpoint is `http://127.0.0.1:3000/mcp`. A client keeps the stream of a GET request open, in
//! which it is told of changes, and reads the result of each call in the stream of a POST request.
//! Press ctrl-c while the tool `report` is running: streams of GET requests end at once, since
//! their clients find another server, and the call is answered. Then the process ends.

mod reports;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_sse::{Dialect, Shutdown, ShutdownLayer, SseLayer};

use reports::Reports;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    let sessions = CancellationToken::new();
    let app = Router::new().route_service("/mcp", mcp(sessions.clone()));
    match env::var("SHUTDOWN").as_deref() {
        Ok("graceful") => axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?,
        Ok("cancel") => {
            let signal = async move {
                ctrl_c().await;
                sessions.cancel();
            };
            axum::serve(listener, app).with_graceful_shutdown(signal).await?;
        }
        _ => {
            let shutdown = Shutdown::builder().deadline(Duration::from_secs(30)).build()?;
            axum::serve(shutdown.listen(listener), app.layer(layer(&shutdown)))
                .with_graceful_shutdown(shutdown.on_signals())
                .await?;
        }
    }
    Ok(())
}

/// Has calls finish, and ends the streams in which clients only listen.
fn layer(shutdown: &Shutdown) -> SseLayer {
    // Both are requests of one path, so the method tells them apart.
    let finish = ShutdownLayer::new(shutdown.clone()).finish_within_for(|request| {
        (request.method == Method::POST).then_some(Duration::from_secs(25))
    });
    SseLayer::new().dialect(Dialect::mcp_2025_11()).shutdown(finish)
}

/// The service of rmcp. Its own keepalive is off, since the layer has one.
fn mcp(sessions: CancellationToken) -> StreamableHttpService<Reports, LocalSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .with_sse_keep_alive(None)
        .with_cancellation_token(sessions);
    StreamableHttpService::new(|| Ok(Reports), LocalSessionManager::default().into(), config)
}

// For so long axum waits for a client that only listens, without the layers: the manual says it.
const _: () = assert!(SessionConfig::DEFAULT_KEEP_ALIVE.as_secs() == 5 * 60);

async fn ctrl_c() {
    // Without signals the server would run for ever, which is no worse.
    let _ = tokio::signal::ctrl_c().await;
}
