//! What real clients of gRPC, gRPC-Web and Connect see of streams that a drain ends.
//!
//! `tests/run` installs them, as `clients/python.txt` and `clients/npm.txt` pin them.

use std::convert::Infallible;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::IntervalStream;
use tower_sse::{Shutdown, SseLayer};

use crate::harness::LONG;
use crate::harness::process::{Example, line_after};
use crate::harness::sdk::{node, python};

/// A client that reads streams until they end.
struct Reader {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// What a client saw of a stream.
#[derive(Debug, Deserialize)]
struct Seen {
    numbers: Vec<u64>,
    code: Option<String>,
    details: Option<String>,
}

impl Reader {
    /// Starts a client, and waits until it has read from each of its streams.
    async fn start(mut command: Command, arguments: &[&str]) -> Self {
        let child = command.args(arguments).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it is installed");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        line_after(&mut stdout, "reads").await;
        Self { child, stdout }
    }

    /// Reads to the end of all streams. Each has to be numbers in order, and `unavailable`.
    async fn end(mut self, streams: usize, unavailable: &str) {
        let mut text = String::new();
        let end = timeout(LONG, self.stdout.read_to_string(&mut text)).await;
        end.expect("the streams end").expect("it can be read");
        assert!(self.child.wait().await.expect("it can be waited for").success());
        let all: Vec<Seen> = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(all.len(), streams);
        for seen in all {
            assert!(seen.numbers.iter().copied().eq(1..=seen.numbers.len() as u64), "{seen:?}");
            assert_eq!(seen.code.as_deref(), Some(unavailable), "{seen:?}");
            assert_eq!(seen.details.as_deref(), Some("the server shuts down"), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn grpcio_sees_whole_messages_and_unavailable_on_ctrl_c() {
    let mut example = Example::start("grpc", &[]).await;
    let address = example.url("").replace("http://", "");
    let reader = Reader::start(python("grpc_client.py"), &[&address]).await;
    example.signal("INT").await;
    reader.end(10, "UNAVAILABLE").await;
    assert_eq!(example.exit().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_client_of_grpc_web_sees_whole_messages_and_unavailable_on_ctrl_c() {
    let mut example = Example::start("grpc", &[]).await;
    let reader = Reader::start(node("connect.mjs"), &[&example.url(""), "grpc-web"]).await;
    example.signal("INT").await;
    reader.end(1, "Unavailable").await;
    assert_eq!(example.exit().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_client_of_connect_sees_whole_messages_and_unavailable_and_is_refused_so() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let app = Router::new().route("/example.Counter/Count", post(count));
    let app = app.layer(SseLayer::new().shutdown(shutdown.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let reader = Reader::start(node("connect.mjs"), &[&url, "connect"]).await;
    shutdown.trigger();
    reader.end(1, "Unavailable").await;

    let mut refused = node("connect.mjs");
    let output = refused.args([&url, "connect"]).output().await.unwrap();
    let seen: Vec<Seen> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen[0].code.as_deref(), Some("Unavailable"), "{seen:?}");
    assert_eq!(seen[0].details.as_deref(), Some("the server shuts down"), "{seen:?}");
    server.abort();
}

/// Numbers in envelopes of Connect.
async fn count() -> impl IntoResponse {
    let ticks = IntervalStream::new(interval(Duration::from_millis(20)));
    let envelopes = ticks.zip(stream::iter(1_u64..)).map(|(_, number)| {
        let message = format!("{{\"value\":\"{number}\"}}");
        let len = u32::try_from(message.len()).expect("it is short").to_be_bytes();
        Ok::<_, Infallible>([&[0][..], &len, message.as_bytes()].concat())
    });
    ([(CONTENT_TYPE, "application/connect+json")], Body::from_stream(envelopes))
}
