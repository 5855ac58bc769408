//! Pages and answers that show a state, and link to the stream of what follows.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_sse::event_log::Start;
use tower_sse::hub::{StreamLink, Subscription};
use tower_sse::{EventId, Hub};

use crate::harness::hub::{append, topic};

async fn state(State(hub): State<Hub>) -> impl IntoResponse {
    let position = hub.latest(topic("t")).await.unwrap();
    (StreamLink::new("/events?of=t", &position).unwrap(), "the state")
}

async fn events(State(hub): State<Hub>, start: Start) -> Subscription {
    hub.subscribe(topic("t")).start(start)
}

#[tokio::test]
async fn what_is_published_between_an_answer_and_its_stream_is_in_the_stream_that_it_links_to() {
    let hub = Hub::default();
    let app = Router::new().route("/state", get(state)).route("/events", get(events));
    let app = app.with_state(hub.clone());
    let get = async |uri: &str| {
        app.clone()
            .oneshot(Request::get(uri).body(axum::body::Body::empty()).unwrap())
            .await
            .unwrap()
    };
    append(hub.log(), "t", "before");
    let response = get("/state").await;
    let between: EventId = append(hub.log(), "t", "between");
    let link = response.headers()["link"].to_str().unwrap();
    let (url, attributes) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(attributes, "; rel=\"monitor\"; type=\"text/event-stream\"");
    assert!(url.starts_with("/events?of=t&last_event_id="), "{url}");
    let mut stream = get(url).await.into_body();
    let frame = stream.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), format!("data: between\nid: {between}\n\n"));
}
