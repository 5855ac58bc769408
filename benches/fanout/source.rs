//! What is compared, as a handler of axum.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::get;
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tower_sse::event_log::{MemoryLog, Topic};
use tower_sse::{Event, Hub, KeepAliveLayer, SseLayer};

const INTERVAL: Duration = Duration::from_secs(15);

/// Events that are published at once.
pub(crate) const BURST: usize = 64;

/// Of every event's data, to be counted by its first byte, which is nowhere else.
const TEXT: &str =
    "~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// What is published into, and followed.
#[derive(Clone)]
pub(crate) enum Source {
    Hub(Hub, Topic),
    Broadcast(broadcast::Sender<String>),
}

impl Source {
    pub(crate) fn hub() -> Self {
        let log = MemoryLog::builder().events(4 * BURST).build().expect("it can work");
        Self::Hub(Hub::new(log), Topic::new("t").expect("a name"))
    }

    pub(crate) fn broadcast() -> Self {
        Self::Broadcast(broadcast::channel(4 * BURST).0)
    }

    pub(crate) fn publish(&self) {
        match self {
            Self::Hub(hub, topic) => {
                hub.publish_blocking(topic, Event::new().data(TEXT)).expect("it has room");
            }
            Self::Broadcast(sender) => {
                sender.send(TEXT.to_owned()).expect("some follow");
            }
        }
    }

    /// What a handler answers.
    pub(crate) fn response(&self) -> axum::response::Response {
        match self {
            Self::Hub(hub, topic) => hub.subscribe(topic).into_response().into_response(),
            Self::Broadcast(sender) => {
                let events = BroadcastStream::new(sender.subscribe());
                let events = events.map(|text| {
                    Ok::<_, Infallible>(sse::Event::default().data(text.expect("it keeps up")))
                });
                Sse::new(events).keep_alive(KeepAlive::new().interval(INTERVAL)).into_response()
            }
        }
    }

    /// Both keep alive: the one by the layer, the other by itself.
    pub(crate) fn app(&self) -> Router {
        let app = Router::new()
            .route("/", get(|State(source): State<Source>| async move { source.response() }));
        let app = app.with_state(self.clone());
        match self {
            Self::Hub(..) => {
                let layer = SseLayer::off().keep_alive(KeepAliveLayer::every(INTERVAL));
                app.layer(layer)
            }
            Self::Broadcast(_) => app,
        }
    }

    /// Those that have sent their first bytes or are about to.
    pub(crate) fn followers(&self) -> usize {
        match self {
            Self::Hub(hub, topic) => hub.log().followers(topic),
            Self::Broadcast(sender) => sender.receiver_count(),
        }
    }
}

/// How many events there are in so many bytes.
pub(crate) fn count(bytes: &[u8]) -> usize {
    memchr::memchr_iter(TEXT.as_bytes()[0], bytes).count()
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
