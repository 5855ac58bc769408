//! A gateway in front of language models, whose clients are the SDKs of OpenAI and Anthropic.
//!
//! ```text
//! cargo run --example llm_gateway
//! curl -N 127.0.0.1:3000/v1/chat/completions -H "Authorization: Bearer small" \
//!     --json '{"model":"words=20,every=250","stream":true}'
//! ```
//!
//! Whatever happens, a client gets what its SDK understands: something to read while the model
//! thinks, before the head and after it, and the error of the API if the model dies or is silent
//! for too long, if the key has too many answers open, or if the gateway goes away. An answer that
//! is asked for with an `Idempotency-Key` goes on while its client is away, and the client comes
//! back to it with the key and a `Last-Event-ID`.
//!
//! - `UPSTREAM=http://127.0.0.1:3002` is the API of a model. Without it the gateway has one of its
//!   own, whose answers are scripts (see `model/script.rs`).
//! - `SERVE=model` serves that model alone.
//! - `OPERATORS_PORT` (9000) is the port of `/drain` and `/ready`, for the node only.
//! - `THINKING_MS` (2000) is how long a client waits for a head, `KEEP_ALIVE_MS` (that of the
//!   dialect) how often it is sent something in silence, `SILENCE_MS` (600000) how long a model may
//!   say nothing, and `FINISH_MS` (8000) how long answers may go on in a drain.

mod error;
mod forward;
mod gateway;
mod model;
mod plans;

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::http::Uri;
use tokio::net::TcpListener;
use tower_sse::Shutdown;

use gateway::Times;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = listen(port).await?;
    let address = listener.local_addr()?;
    if env::var("SERVE").is_ok_and(|what| what == "model") {
        println!("listening on http://{address}");
        return Ok(axum::serve(listener, model::routes()).await?);
    }

    let upstream = upstream().await?;
    let shutdown = Shutdown::new();
    let operators_port: u16 = env::var("OPERATORS_PORT").map_or(Ok(9000), |port| port.parse())?;
    let operators = listen(operators_port).await?;
    let for_operators = Router::new()
        .route_service("/drain", shutdown.pre_stop())
        .route_service("/ready", shutdown.readiness());
    tokio::spawn(async { axum::serve(operators, for_operators).await });

    let app = gateway::routes(upstream, &shutdown, Times::from_env()?)?;
    println!("listening on http://{address}");
    // `/drain` ends no connections: until the signal, requests are refused in words.
    let signals = Shutdown::new();
    axum::serve(signals.listen(listener), app)
        .with_graceful_shutdown(async move {
            signals.on_signals().await;
            shutdown.trigger();
        })
        .await?;
    Ok(())
}

/// Where the API of the model is.
async fn upstream() -> Result<Uri, Box<dyn Error>> {
    if let Ok(upstream) = env::var("UPSTREAM") {
        return Ok(upstream.parse()?);
    }
    let listener = listen(0).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, model::routes()).await });
    Ok(format!("http://{address}").parse()?)
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.map_err(|error| format!("port {port}: {error}"))
}
