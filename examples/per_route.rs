//! Routes with settings of their own, within those of the whole router.
//!
//! ```text
//! cargo run --example per_route
//! curl -N 127.0.0.1:3000/feed      # on ctrl-c: closed at once, the page comes back elsewhere
//! curl -N 127.0.0.1:3000/answer    # on ctrl-c: may finish, its ten words take five seconds
//! curl -N 127.0.0.1:3000/phone     # keepalives every second, for networks that forget quickly
//! curl -N 127.0.0.1:3000/raw       # on ctrl-c: nothing, as all is off; it is waited for
//! ```
//!
//! Press ctrl-c while several are open, and once more to end all of them at once. `/raw` is cut
//! then, as it would be at the deadline.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::response::{Sse, sse::Event};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_sse::{EventIdLayer, Farewell, KeepAliveLayer, Shutdown, ShutdownLayer, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let shutdown = Shutdown::new();
    let app = app(&shutdown);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app)
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
}

fn app(shutdown: &Shutdown) -> Router {
    // A layer further in changes what it speaks of, and leaves the rest as it is further out.
    let finish = ShutdownLayer::new(shutdown.clone()).finish_within(Duration::from_secs(8));
    let reconnect = ShutdownLayer::new(shutdown.clone()).farewell(Farewell::reconnect());
    let outermost = SseLayer::new().event_ids(EventIdLayer::sequential()).shutdown(reconnect);
    Router::new()
        .route("/feed", get(feed))
        .route("/answer", get(answer).layer((finish, EventIdLayer::off())))
        .route("/phone", get(silent).layer(KeepAliveLayer::every(Duration::from_secs(1))))
        .route("/raw", get(raw).layer(SseLayer::off()))
        .layer(outermost)
}

async fn feed() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    said("news", Duration::from_secs(1), usize::MAX)
}

/// Half of an answer is worth nothing, and it cannot be gone on with elsewhere.
async fn answer() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    said("word", Duration::from_millis(500), 10)
}

async fn silent() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::pending())
}

/// It has an end, since no layer ends it.
async fn raw() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    said("raw", Duration::from_secs(1), 5)
}

fn said(
    what: &'static str,
    every: Duration,
    times: usize,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(interval(every)).take(times).enumerate();
    Sse::new(ticks.map(move |(n, _)| Ok(Event::default().data(format!("{what} {n}")))))
}
