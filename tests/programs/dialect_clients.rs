//! What the clients of several APIs see of a stream in their dialect: its silence, its failure, a
//! drain, that it is refused, and the ends of an answer that is kept.
//!
//! `tests/run` installs them, as `clients/npm.txt` pins them.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tower_sse::resume::ResumeKey;
use tower_sse::{Dialect, JsonRpcId, KeepAliveLayer, Limit, ResumeLayer, Shutdown, SseLayer};

use crate::harness::LONG;

/// The events of a client's API: up to a first text, a second one, and the end.
type Events = fn(&Value) -> [String; 3];

/// Each client with its dialect. It asks below the path of its name.
fn clients() -> [(&'static str, &'static str, Dialect, Events); 7] {
    let with_id = |dialect: fn() -> Dialect| {
        Dialect::for_request(move |request| {
            dialect().json_rpc_id(request.extensions.get::<JsonRpcId>().cloned())
        })
    };
    [
        ("a2a", "", with_id(Dialect::a2a), a2a),
        ("a2a_without_id", "", Dialect::a2a(), a2a),
        ("a2a_http", "/message:stream", Dialect::a2a(), |_| {
            let update = |task| format!("data: {}\n\n", task_update(task));
            [update("one"), update("two"), String::new()]
        }),
        ("ag_ui", "", Dialect::ag_ui(), |_| {
            let content = |delta| {
                format!(
                    "data: {}\n\n",
                    json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": delta })
                )
            };
            let begin = "data: {\"type\":\"RUN_STARTED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n\
                data: {\"type\":\"TEXT_MESSAGE_START\",\"messageId\":\"m\",\"role\":\"assistant\"}\n\n";
            let end = "data: {\"type\":\"TEXT_MESSAGE_END\",\"messageId\":\"m\"}\n\n\
                data: {\"type\":\"RUN_FINISHED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n";
            [begin.to_owned() + &content("one"), content("two"), end.to_owned()]
        }),
        ("graphql_sse", "", Dialect::graphql_sse(), |_| {
            let next = |n| format!("event: next\ndata: {}\n\n", json!({ "data": { "n": n } }));
            [next("one"), next("two"), "event: complete\ndata:\n\n".to_owned()]
        }),
        ("mcp", "", with_id(Dialect::mcp_2026_07), |request| {
            let message = |data: &str| {
                let params = json!({ "level": "info", "data": data });
                let method = "notifications/message";
                json!({ "jsonrpc": "2.0", "method": method, "params": params })
            };
            let result = json!({ "content": [] });
            let result = json!({ "jsonrpc": "2.0", "id": &request["id"], "result": result });
            [message("one"), message("two"), result].map(|json| format!("data: {json}\n\n"))
        }),
        ("vercel_ui_message", "", Dialect::vercel_ui_message(), |_| {
            let part = |id: &str| {
                format!(
                    "data: {{\"type\":\"text-start\",\"id\":\"{id}\"}}\n\n\
                     data: {{\"type\":\"text-delta\",\"id\":\"{id}\",\"delta\":\"{id}\"}}\n\n\
                     data: {{\"type\":\"text-end\",\"id\":\"{id}\"}}\n\n"
                )
            };
            let begin = "data: {\"type\":\"start\",\"messageId\":\"m\"}\n\n";
            let end = "data: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n";
            [begin.to_owned() + &part("one"), part("two"), end.to_owned()]
        }),
    ]
}

fn a2a(request: &Value) -> [String; 3] {
    let id = &request["id"];
    let update = |task| {
        let result = task_update(task);
        format!("data: {}\n\n", json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    };
    [update("one"), update("two"), String::new()]
}

/// Leaves the id of a request of JSON-RPC for the layers further in, and does what a server of MCP
/// does before the first call.
async fn read_id(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a short body");
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let result = json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "logging": {}, "tools": {} },
                "serverInfo": { "name": "tests", "version": "1.0.0" },
            });
            let id = &message["id"];
            return Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response();
        }
        "notifications/initialized" => return StatusCode::ACCEPTED.into_response(),
        _ => {}
    }
    if let Some(id) = message["id"].as_i64() {
        parts.extensions.insert(JsonRpcId::from(id));
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

fn task_update(task: &str) -> Value {
    let status = json!({ "state": "TASK_STATE_WORKING" });
    json!({ "statusUpdate": { "taskId": task, "contextId": "c", "status": status } })
}

/// The streams of one client, each of which goes another way.
fn routes(name: &str, path: &str, dialect: &Dialect, events: Events) -> Router {
    let layer = || {
        let keep_alive = KeepAliveLayer::every(Duration::from_millis(50));
        SseLayer::new().keep_alive(keep_alive).dialect(dialect.clone())
    };
    let own_path = |what: &str| format!("/{name}/{what}{path}");
    let stream_of = move |request: &Bytes, rest: fn([String; 3]) -> Chunks| {
        let request = serde_json::from_slice(request).expect("requests are JSON");
        let head = [("content-type", "text/event-stream")];
        (head, Body::from_stream(rest(events(&request)))).into_response()
    };
    let quiet = async move |request: Bytes| stream_of(&request, |events| quiet(events));
    let fails = async move |request: Bytes| stream_of(&request, |events| fails(events));

    let resume = ResumeLayer::new(|request: &Parts| Some(answer_of(request.uri.path())));
    let (handle, stopped_path) = (resume.handle(), own_path("stopped"));
    let is_stopped = async move |request: Bytes| -> Response {
        tokio::spawn(async move {
            sleep(SILENCE).await;
            handle.stop(&answer_of(&stopped_path)).await
        });
        stream_of(&request, |[begin, ..]| stays(begin))
    };

    let draining = Shutdown::builder().build().unwrap();
    draining.trigger();
    let drained = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let shutdown = drained.clone();
    let is_drained = async move |request: Bytes| -> Response {
        tokio::spawn(async move {
            sleep(SILENCE).await;
            shutdown.trigger();
        });
        stream_of(&request, |[begin, ..]| stays(begin))
    };
    Router::new()
        .route(&own_path("quiet"), post(quiet).layer(layer()))
        .route(&own_path("fails"), post(fails).layer(layer()))
        .route(&own_path("kept_fails"), post(fails).layer((layer(), resume.clone())))
        .route(&own_path("stopped"), post(is_stopped).layer((layer(), resume)))
        .route(&own_path("drained"), post(is_drained).layer(layer().shutdown(drained)))
        .route(&own_path("limit"), post(quiet).layer(layer().limit(Limit::new(0))))
        .route(&own_path("draining"), post(quiet).layer(layer().shutdown(draining)))
}

fn answer_of(path: &str) -> ResumeKey {
    ResumeKey::new(path, "anyone")
}

type Chunks = BoxStream<'static, io::Result<String>>;

/// For several keepalives, whatever the machine is busy with.
const SILENCE: Duration = Duration::from_millis(300);

fn quiet(events: [String; 3]) -> Chunks {
    let chunks = stream::iter(events).then(|chunk| sleep(SILENCE).map(|()| Ok(chunk)));
    chunks.boxed()
}

fn fails([begin, ..]: [String; 3]) -> Chunks {
    let failure = async {
        sleep(SILENCE).await;
        Err(io::Error::other("the upstream has gone"))
    };
    stream::iter([Ok(begin)]).chain(stream::once(failure)).boxed()
}

fn stays(begin: String) -> Chunks {
    stream::iter([Ok(begin)]).chain(stream::pending()).boxed()
}

#[tokio::test]
async fn each_client_understands_what_is_said_in_its_dialect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join(".tools/npm/node_modules");
    assert!(modules.exists(), "{} is missing: tests/run installs it", modules.display());

    let app = clients().into_iter().fold(Router::new(), |app, (name, path, dialect, events)| {
        app.merge(routes(name, path, &dialect, events))
    });
    let app = app.layer(from_fn(read_id));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let mut clients = Command::new("node");
    clients.arg(root.join("clients/dialect_clients.mjs")).arg(modules).arg(url);
    // A proxy of the machine has no business here.
    clients.env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    let output = timeout(LONG, clients.output()).await.expect("the clients end");
    let output = output.expect("`node` runs: tests/run installs it");
    server.abort();
    let errors = String::from_utf8_lossy(&output.stderr);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));

    assert_eq!(seen, expected(), "{errors}");
}

/// What each client sees, and what it throws.
fn expected() -> Value {
    let quiet = json!({ "seen": ["one", "two"] });
    let raised = |error: &str| json!({ "seen": ["one"], "error": error });
    let told = |error: &str| json!({ "seen": ["one", error] });
    let refused = |error: &str| json!({ "seen": [], "error": error });
    let raised_by_a2a = |error: &str, code: i32| {
        raised(&format!("SSE event contained an error: {error} (Code: {code}) Data: {{}}"))
    };
    // The first request was that of the handshake.
    let refused_by_mcp = |error: &str| {
        refused(&format!(
            r#"Streamable HTTP error: Error POSTing to endpoint: {{"jsonrpc":"2.0","id":1,"error":{{"code":-32000,"message":"{error}"}}}}"#
        ))
    };
    // What the client says of a response of JSON-RPC without the id of its request.
    let mismatch = "JSON-RPC response ID mismatch in SSE event. Expected 1, got null.";
    json!({
        "a2a": {
            "quiet": quiet,
            "fails": raised_by_a2a("the stream failed", -32603),
            "kept_fails": raised_by_a2a("the stream failed", -32603),
            "stopped": raised_by_a2a("the stream was stopped", -32000),
            "drained": raised_by_a2a("the server shuts down", -32000),
            "limit": refused("too many streams are open"),
            "draining": refused("the server shuts down"),
        },
        "a2a_without_id": {
            "quiet": quiet,
            "fails": raised(mismatch),
            "kept_fails": raised(mismatch),
            "stopped": raised(mismatch),
            "drained": raised(mismatch),
            "limit": refused("too many streams are open"),
            "draining": refused("the server shuts down"),
        },
        "a2a_http": {
            "quiet": quiet,
            "fails": raised("the stream failed"),
            "kept_fails": raised("the stream failed"),
            "stopped": raised("the stream was stopped"),
            "drained": raised("the server shuts down"),
            "limit": refused("too many streams are open"),
            "draining": refused("the server shuts down"),
        },
        "ag_ui": {
            "quiet": quiet,
            "fails": told("error: the stream failed"),
            "kept_fails": told("error: the stream failed"),
            "stopped": told("stopped: the stream was stopped"),
            "drained": told("shutdown: the server shuts down"),
            "limit": refused(
                r#"HTTP 429: {"type":"RUN_ERROR","message":"too many streams are open","code":"limit"}"#
            ),
            "draining": refused(
                r#"HTTP 503: {"type":"RUN_ERROR","message":"the server shuts down","code":"draining"}"#
            ),
        },
        "graphql_sse": {
            "quiet": quiet,
            "fails": told("ERROR: the stream failed"),
            "kept_fails": told("ERROR: the stream failed"),
            "stopped": told("STOPPED: the stream was stopped"),
            "drained": told("SHUTDOWN: the server shuts down"),
            "limit": refused("Server responded with 429: Too Many Requests"),
            "draining": refused("Server responded with 503: Service Unavailable"),
        },
        "mcp": {
            "quiet": quiet,
            "fails": raised("MCP error -32603: the stream failed"),
            "kept_fails": raised("MCP error -32603: the stream failed"),
            "stopped": raised("MCP error -32000: the stream was stopped"),
            "drained": raised("MCP error -32000: the server shuts down"),
            "limit": refused_by_mcp("too many streams are open"),
            "draining": refused_by_mcp("the server shuts down"),
        },
        "vercel_ui_message": {
            "quiet": { "seen": ["one", "onetwo"] },
            "fails": raised("the stream failed"),
            "kept_fails": raised("the stream failed"),
            "stopped": { "seen": ["one"] },
            "drained": raised("the server shuts down"),
            "limit": refused("too many streams are open"),
            "draining": refused("the server shuts down"),
        },
    })
}
