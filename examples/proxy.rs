//! A reverse proxy that keeps the streams behind it alive, and says goodbye when they die.
//!
//! ```text
//! cargo run --example demo
//! UPSTREAM=http://127.0.0.1:3000 PORT=3001 EVENT_IDS=1 KEEP_ALIVE_MS=1000 cargo run --example proxy
//! curl -N 127.0.0.1:3001/silent
//! ```
//!
//! Kill the demo with `kill -9`: curl still gets a last event. `EVENT_IDS` gives ids to the events
//! that have none; those of the upstream's own stay as they are.

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower_sse::{EventIdLayer, Farewell, KeepAliveLayer, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3001), |port| port.parse())?;
    let upstream: Uri =
        env::var("UPSTREAM").map_or_else(|_| "http://127.0.0.1:3000".parse(), |uri| uri.parse())?;
    let authority = upstream
        .authority()
        .filter(|_| upstream.scheme() == Some(&Scheme::HTTP))
        .ok_or("UPSTREAM is not of the form http://host:port")?;
    let keep_alive: u64 = env::var("KEEP_ALIVE_MS").map_or(Ok(15_000), |ms| ms.parse())?;
    let event_ids = match env::var("EVENT_IDS").as_deref() {
        Ok("1") => EventIdLayer::sequential(),
        _ => EventIdLayer::off(),
    };

    let shutdown = Shutdown::new();
    let layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(Duration::from_millis(keep_alive)))
        .event_ids(event_ids)
        // The feed is not over only because its origin is, so pages are asked to come back.
        .shutdown(ShutdownLayer::new(shutdown.clone()).farewell_on_error(Farewell::reconnect()));
    let app = app(authority.clone(), layer);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app)
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
}

/// Where requests go, and by what.
#[derive(Clone, Debug)]
struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

fn app(authority: Authority, layer: SseLayer) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    Router::new().fallback(forward).layer(layer).with_state(Upstream { authority, client })
}

async fn forward(State(upstream): State<Upstream>, mut request: Request) -> Response {
    match address(&upstream.authority, request.uri()) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    // The client speaks HTTP/1.1 to the upstream, whatever was spoken to us.
    *request.version_mut() = Version::HTTP_11;
    drop_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(header::HOST);
    // A stream that comes compressed cannot be looked into.
    request.headers_mut().remove(header::ACCEPT_ENCODING);

    match upstream.client.request(request).await {
        Ok(mut response) => {
            drop_hop_by_hop(response.headers_mut());
            response.into_response()
        }
        Err(error) => {
            eprintln!("{}: {error}", upstream.authority);
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// The same path and query at the upstream.
fn address(upstream: &Authority, uri: &Uri) -> Result<Uri, http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme(Scheme::HTTP).authority(upstream.clone()).path_and_query(path).build()
}

/// Drops what is said to the next hop only: [RFC 9110, 7.6.1][rfc].
///
/// [rfc]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
