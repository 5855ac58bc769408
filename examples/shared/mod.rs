//! What the examples with pages share: how they listen, the client script, one style, and where
//! htmx and Alpine come from.

#![allow(dead_code, unreachable_pub, reason = "every example uses a part of this")]

pub mod vendor;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_sse::{Shutdown, client};

/// Serves until SIGTERM or ctrl-c, on the port that `PORT` says, or else 3000.
pub async fn serve(app: Router, shutdown: Shutdown) -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app.merge(assets()))
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
}

/// What the pages load.
fn assets() -> Router {
    let style = ([(CONTENT_TYPE, "text/css")], include_str!("style.css"));
    Router::new()
        .route("/style.css", get(async move || style))
        .route_service("/tower-sse.js", client::module())
        .route_service("/tower-sse.extras.js", client::extras())
        .merge(vendor::router())
}
