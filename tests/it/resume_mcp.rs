//! A server of MCP that is written by hand resumes the calls of its clients, as the manual says.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::routing::post;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;
use tower::ServiceExt;
use tower_sse::resume::ResumeKey;
use tower_sse::testing::Reader;
use tower_sse::{Dialect, ResumeLayer, SseLayer};

use crate::harness::SECOND;

/// Two notifications, and the result after some seconds.
async fn call() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let messages = stream::iter(["progress 1", "progress 2", "result"]).then(async |message| {
        sleep(SECOND).await;
        Ok(Event::default().data(message))
    });
    Sse::new(messages)
}

#[tokio::test(start_paused = true)]
async fn a_call_of_mcp_goes_on_without_its_client_and_a_get_of_its_session_has_the_rest() {
    let resume = ResumeLayer::new(|request: &Parts| {
        let session = request.headers.get("mcp-session-id")?.to_str().ok()?;
        Some(ResumeKey::new(request.uri.path(), session))
    });
    let app: Router = Router::new()
        .route("/mcp", post(call).get(async || StatusCode::METHOD_NOT_ALLOWED))
        .layer(resume)
        .layer(SseLayer::new().dialect(Dialect::mcp_2025_11()));
    let ask = async |method: &str, session: &str, id: Option<&str>| {
        let request = Request::builder().method(method).uri("/mcp");
        let mut request = request.header("mcp-session-id", session);
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };

    let mut client = Reader::of(ask("POST", "one", None).await);
    assert_eq!(client.next().await.unwrap().data, "progress 1");
    let id = client.last_event_id().to_owned();
    drop(client);
    sleep(10 * SECOND).await;

    let other = ask("GET", "other", Some(&id)).await;
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED, "it is another session's");
    let rest = Reader::of(ask("GET", "one", Some(&id)).await).rest().await;
    let rest: Vec<&str> = rest.iter().map(|event| &*event.data).collect();
    assert_eq!(rest, ["progress 2", "result"]);
}
