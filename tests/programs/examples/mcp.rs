//! An MCP server and its clients: rmcp's own, and the official SDKs for TypeScript and Python.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rmcp::model::{
    CallToolRequestParams, ProgressNotificationParam, ResourceUpdatedNotificationParam,
};
use rmcp::service::{NotificationContext, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::harness::LONG;
use crate::harness::process::{Example, Transcript, curl, text};
use crate::harness::sdk::{node, python};

#[tokio::test]
async fn ctrl_c_ends_streams_that_listen_at_once_and_lets_calls_answer() {
    let mut server = Running::start("layers").await;
    let signalled = server.ctrl_c().await;

    let listener = async {
        let (text, status) = server.listener.end().await;
        // Not 18, which is curl's word for a body that was cut.
        assert_eq!(status.code(), Some(0), "{text}");
        signalled.elapsed()
    };
    let outcomes = join_all(server.calls.iter_mut().map(Call::outcome));
    let (told, outcomes, (status, exited)) =
        tokio::join!(listener, outcomes, server.example.exit());

    for (name, outcome, took) in &outcomes {
        assert_eq!(outcome, &format!("result written in {SECONDS} s"), "{name}");
        assert!(told < *took, "{told:?}, {name}: {took:?}");
    }
    assert_eq!(status.code(), Some(0));
    // With the last call, and not at the deadline.
    let last = outcomes.iter().map(|(_, _, took)| *took).max().expect("three of them");
    let after = exited.duration_since(signalled).saturating_sub(last);
    assert!(after < Duration::from_secs(10), "{after:?} after the last call");
}

#[tokio::test]
async fn without_the_layers_ctrl_c_hangs_as_long_as_a_client_listens() {
    let mut server = Running::start("graceful").await;
    let signalled = server.ctrl_c().await;
    join_all(server.calls.iter_mut().map(Call::outcome)).await;
    // No client but the one that listens is left.
    let exit = timeout(Duration::from_secs(5), server.example.exit()).await;
    assert!(exit.is_err(), "after {:?}", signalled.elapsed());
    assert!(server.listener.text().contains("id: "));
}

#[tokio::test]
async fn with_a_token_in_place_of_the_layers_ctrl_c_cuts_calls() {
    let mut server = Running::start("cancel").await;
    server.ctrl_c().await;
    server.example.exit().await;

    // They wait for it, or for their own timeouts, or raise an error.
    let results = join_all(server.calls.iter_mut().map(async |call| {
        let said = timeout(Duration::from_secs(5), call.said.recv()).await;
        said.ok().flatten().filter(|said| said.starts_with("result"))
    }));
    assert_eq!(results.await, [const { None }; 3]);
}

/// How long a call takes.
const SECONDS: u32 = 3;

/// A server with a client that only listens, and a call of each SDK that is on its way.
struct Running {
    example: Example,
    listener: Transcript,
    calls: Vec<Call>,
}

impl Running {
    async fn start(shutdown: &str) -> Self {
        let example = Example::start("mcp", &[("SHUTDOWN", shutdown)]).await;
        let url = example.url("/mcp");
        let listener = listen(&url).await;
        let mut calls = [Call::rmcp(&url), Call::typescript(&url), Call::python(&url)];
        join_all(calls.iter_mut().map(Call::is_connected)).await;
        join_all(calls.iter_mut().map(Call::is_on_its_way)).await;
        Self { example, listener, calls: calls.into() }
    }

    async fn ctrl_c(&mut self) -> Instant {
        let now = Instant::now();
        self.calls.iter_mut().for_each(|call| call.since = now);
        self.example.signal("INT").await;
        now
    }
}

/// A session with nothing but its GET stream.
async fn listen(url: &str) -> Transcript {
    let post = ["-H", "Content-Type: application/json"];
    let accept = ["-H", "Accept: application/json, text/event-stream"];
    let initialize = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "curl", "version": "8" },
        },
    });
    let initialize = ["-i", "-d", &initialize.to_string(), url];
    let head = text(&curl(&[&post[..], &accept, &initialize].concat()).await);
    let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    let session = format!("Mcp-Session-Id: {}", session.expect("a session"));

    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let initialized = ["-H", &session, "-d", &initialized.to_string(), url];
    curl(&[&post[..], &accept, &initialized].concat()).await;
    let mut listener = Transcript::of(&["-H", &session, "-H", "Accept: text/event-stream", url]);
    listener.until(|text| text.contains("id: ")).await;
    listener
}

/// What a client of an SDK says: that it is `connected`, that it `listens` and its call `runs`, and
/// what came of it.
struct Call {
    name: &'static str,
    begin: Arc<Notify>,
    said: mpsc::UnboundedReceiver<String>,
    since: Instant,
}

impl Call {
    fn rmcp(url: &str) -> Self {
        let (says, said) = mpsc::unbounded_channel();
        let transport = StreamableHttpClientTransport::from_uri(url);
        let begin = Arc::<Notify>::default();
        let begins = Arc::clone(&begin);
        tokio::spawn(async move {
            let client = Says(says.clone()).serve(transport).await.expect("it connects");
            let _ = says.send("connected".to_owned());
            begins.notified().await;
            let arguments = json!({ "seconds": SECONDS }).as_object().cloned();
            let call = CallToolRequestParams::new("report");
            let call = call.with_arguments(arguments.expect("an object"));
            let _ = says.send(match client.call_tool(call).await {
                Ok(result) => {
                    let text = result.content[0].as_text().map(|text| text.text.clone());
                    format!("result {}", text.expect("a text"))
                }
                Err(error) => format!("error {error:?}"),
            });
        });
        Self { name: "rmcp", begin, said, since: Instant::now() }
    }

    fn typescript(url: &str) -> Self {
        Self::of("typescript", node("mcp.mjs"), url)
    }

    fn python(url: &str) -> Self {
        Self::of("python", python("mcp_client.py"), url)
    }

    fn of(name: &'static str, mut command: Command, url: &str) -> Self {
        command.arg(url).arg(SECONDS.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut stdin = child.stdin.take().expect("it is piped");
        let (says, said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = says.send(line);
            }
            child.wait().await
        });
        let begin = Arc::<Notify>::default();
        let begins = Arc::clone(&begin);
        tokio::spawn(async move {
            begins.notified().await;
            stdin.write_all(b"\n").await
        });
        Self { name, begin, said, since: Instant::now() }
    }

    async fn is_connected(&mut self) {
        assert_eq!(self.says().await, "connected", "{}", self.name);
    }

    async fn is_on_its_way(&mut self) {
        self.begin.notify_one();
        let mut said = [self.says().await, self.says().await];
        said.sort();
        assert_eq!(said, ["listens", "runs"], "{}", self.name);
    }

    async fn outcome(&mut self) -> (&'static str, String, Duration) {
        let outcome = self.says().await;
        (self.name, outcome, self.since.elapsed())
    }

    async fn says(&mut self) -> String {
        loop {
            let said = timeout(LONG, self.said.recv()).await;
            let said = said.unwrap_or_else(|_| panic!("{} says no more", self.name));
            let said = said.unwrap_or_else(|| panic!("{} is gone", self.name));
            let Some(warning) = said.strip_prefix("warning ") else {
                return said;
            };
            // The server is gone for all but its calls, and that may be said, but no more.
            let is_of_connection = ["reconnect", "fetch failed", "attempts"];
            let is_of_connection = is_of_connection.iter().any(|word| warning.contains(word));
            assert!(is_of_connection, "{}: {warning}", self.name);
        }
    }
}

struct Says(mpsc::UnboundedSender<String>);

impl ClientHandler for Says {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        if progress.progress == 0.0 {
            let _ = self.0.send("runs".to_owned());
        }
    }

    async fn on_resource_updated(
        &self,
        _: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.0.send("listens".to_owned());
    }
}
