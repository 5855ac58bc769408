//! A task that takes a while and has an end: its page follows it in a stream of its own.

use std::convert::Infallible;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response, Sse, sse};
use futures_util::stream;
use tokio::time::sleep;
use tower_sse::event_log::{MemoryLogError, Start, Topic};
use tower_sse::{Event, Hub};

use crate::fragment::fill;
use crate::{Htmx, SECOND};

/// Begins one, and answers with the element that follows it.
pub(crate) async fn begin(
    State(hub): State<Hub>,
    Path(version): Path<String>,
) -> Result<Html<String>, StatusCode> {
    let htmx = Htmx::of(&version)?;
    // A server that is started anew does not take it for one of its own.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = now.as_millis();
    show(&hub, id, 0).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    tokio::spawn(roast(hub, id));
    let connect = fill(htmx.task, &[("id", &id)]);
    Ok(Html(fill(TASK, &[("id", &id), ("connect", &connect)])))
}

async fn show(hub: &Hub, id: u128, percent: usize) -> Result<(), MemoryLogError> {
    let bar = fill(BAR, &[("percent", &percent)]);
    hub.publish(&topic(id), Event::new().data(bar)).await.map(drop)
}

/// The last message takes the place of the element that connects, and with it the connection ends.
/// The event `close`, and 204 after it, are for clients that do not swap it.
async fn roast(hub: Hub, id: u128) -> Result<(), MemoryLogError> {
    for percent in (5..=100).step_by(5) {
        sleep(SECOND / 3).await;
        show(&hub, id, percent).await?;
    }
    hub.publish(&topic(id), Event::new().data(over(id, "roasted"))).await?;
    hub.finish(&topic(id)).await.map(drop)
}

pub(crate) async fn events(State(hub): State<Hub>, Path(id): Path<u128>, start: Start) -> Response {
    let (known, _) = hub.log().window(&topic(id));
    if known == 0 {
        let gone = sse::Event::default().data(over(id, "gone, as the server was started anew"));
        return Sse::new(stream::iter([Ok::<_, Infallible>(gone)])).into_response();
    }
    IntoResponse::into_response(hub.subscribe(topic(id)).start(start))
}

fn over(id: u128, over: &str) -> String {
    fill(OVER, &[("id", &id), ("over", &over)])
}

fn topic(id: u128) -> Topic {
    Topic::new(format!("tasks.{id}")).expect("a number is a token")
}

const TASK: &str = r#"<li id="task-{{id}}"><span {{{connect}}} hx-swap="innerHTML"></span></li>"#;
const BAR: &str =
    r#"<label>Roasting <progress max="100" value="{{percent}}"></progress> {{percent}} %</label>"#;
const OVER: &str = r#"<li id="task-{{id}}" hx-swap-oob="true">A batch: {{over}}.</li>"#;
