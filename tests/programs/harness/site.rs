//! A server of pages and streams that can be drained, stopped, killed and started again, on the
//! same port and with the same log.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response, Sse, sse};
use axum::routing::get;
use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower_sse::event_log::{MemoryLog, Start, Topic};
use tower_sse::{
    Event, EventName, Farewell, Hub, KeepAliveLayer, Limit, LimitLayer, Registry, RegistryLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::LONG;
use crate::harness::pages::page;
use crate::harness::ports::free_port;
use crate::harness::process::eventually;

/// What outlives its servers. The one of the moment is killed when this is dropped.
pub struct Site {
    pub log: MemoryLog,
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    published: Published,
    running: Mutex<Option<Running>>,
}

/// The number of the last event, and its id.
type Published = Arc<Mutex<(usize, String)>>;

/// A server, with all that a process of its own would have.
struct Running {
    runtime: Runtime,
    server: JoinHandle<()>,
    registry: Registry,
    shutdown: Shutdown,
    stop: Arc<Notify>,
}

/// A request, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// With its query.
    pub path: String,
    pub last_event_id: Option<String>,
    pub status: u16,
}

impl Site {
    pub async fn start() -> Self {
        let site = Self {
            log: MemoryLog::builder().events(100_000).build().expect("settings that hold"),
            port: free_port(),
            asked: Arc::default(),
            published: Arc::default(),
            running: Mutex::default(),
        };
        site.run().await;
        site
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Begins to serve, with the log as it is.
    pub async fn run(&self) {
        let address = ("127.0.0.1", self.port);
        // The one before may have it still.
        let listener = eventually("the port is free", async || StdListener::bind(address).ok());
        let listener = listener.await;
        listener.set_nonblocking(true).expect("a socket can be set");
        let registry = Registry::new();
        let shutdown = Shutdown::builder()
            .window(Duration::from_millis(100))
            .retry(Duration::from_millis(300)..=Duration::from_millis(600))
            .deadline(Duration::from_secs(5))
            .build();
        let shutdown = shutdown.expect("settings that hold");
        let stop = Arc::new(Notify::new());
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let noted = Arc::clone(&self.asked);
        let (log, listed, guard) = (self.log.clone(), registry.clone(), shutdown.clone());
        let stopped = Arc::clone(&stop);
        let server = runtime.spawn(async move {
            let app = app(Hub::new(log), &listed, &guard).layer(from_fn_with_state(noted, note));
            let listener = TcpListener::from_std(listener).expect("a listener");
            axum::serve(guard.listen(listener), app)
                .with_graceful_shutdown(async move { stopped.notified().await })
                .await
                .expect("it serves");
        });
        let running = Running { runtime, server, registry, shutdown, stop };
        *self.running.lock().expect("nobody panics with it") = Some(running);
    }

    /// Ends the process: no farewell, and connections break off.
    pub fn kill(&self) {
        self.take().runtime.shutdown_background();
    }

    /// Says farewell to all streams, and refuses new ones. Goes on to serve, as a server does that
    /// a load balancer still asks.
    pub fn drain(&self) {
        self.with(|running| running.shutdown.trigger());
    }

    /// Ends in good order.
    pub async fn stop(&self) {
        let running = self.take();
        running.shutdown.trigger();
        running.stop.notify_one();
        let ended = timeout(LONG, running.server).await;
        running.runtime.shutdown_background();
        ended.expect("it is over by the deadline").expect("nothing panics");
    }

    /// Closes all streams with this reason.
    pub fn kick(&self) {
        self.with(|running| running.registry.close_where(|_| true, Farewell::close()));
    }

    /// How many streams are open.
    pub fn open(&self) -> usize {
        let running = self.running.lock().expect("nobody panics with it");
        running.as_ref().map_or(0, |running| running.registry.len())
    }

    pub async fn opens(&self, streams: usize) {
        let what = format!("{streams} streams are open");
        eventually(&what, async || (self.open() == streams).then_some(())).await;
    }

    /// What was asked for below this path, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("nobody panics with it");
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    /// The number of the last event.
    pub fn published(&self) -> usize {
        self.place().0
    }

    /// The number of the last event, and its id.
    pub fn place(&self) -> (usize, String) {
        self.published.lock().expect("nobody panics with it").clone()
    }

    /// Publishes the next number, as an element of a list, which htmx puts into its page. It tells
    /// clients that are cut off to come back soon.
    pub fn publish(&self) {
        publish(&self.log, &self.published);
    }

    /// Publishes numbers steadily, until this is dropped, whatever becomes of servers.
    pub fn publish_steadily(&self, every: Duration) -> Steady {
        let (log, published) = (self.log.clone(), Arc::clone(&self.published));
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                publish(&log, &published);
            }
        });
        Steady(task.abort_handle())
    }

    /// Publishes an event of this name.
    pub fn publish_named(&self, name: &str, data: &str) {
        let name = EventName::new(name).expect("one line");
        let event = Event::new().event(name).data(data);
        self.log.append_now(&topic(), event).expect("it fits");
    }

    /// Publishes an event that has no name.
    pub fn publish_text(&self, data: &str) {
        self.log.append_now(&topic(), Event::new().data(data)).expect("it fits");
    }

    fn take(&self) -> Running {
        let running = self.running.lock().expect("nobody panics with it").take();
        running.expect("it runs")
    }

    fn with<T>(&self, ask: impl FnOnce(&Running) -> T) -> T {
        ask(self.running.lock().expect("nobody panics with it").as_ref().expect("it runs"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let running = self.running.lock().ok().and_then(|mut running| running.take());
        if let Some(running) = running {
            running.runtime.shutdown_background();
        }
    }
}

/// Events are published until this is dropped.
#[must_use]
pub struct Steady(AbortHandle);

impl Drop for Steady {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The streams, the pages, and the scripts of the pages.
fn app(hub: Hub, registry: &Registry, shutdown: &Shutdown) -> Router {
    let heartbeat = EventName::from_static("heartbeat");
    let limit = Limit::builder()
        .max(1)
        .retry(Duration::from_millis(300)..=Duration::from_millis(600))
        .build()
        .expect("settings that hold");
    let back = ShutdownLayer::new(shutdown.clone()).farewell(Farewell::reconnect());
    let events = async |State(hub): State<Hub>, start: Start| hub.subscribe(topic()).start(start);
    let keep_alive = KeepAliveLayer::every(Duration::from_millis(500));
    let keep_alive = keep_alive.heartbeat(heartbeat, Duration::from_secs(1));
    Router::new()
        .route("/events", get(events))
        .route("/coming-back", get(events).layer(back))
        .route("/limited", get(events).layer(LimitLayer::new(limit)))
        .route("/finite", get(finite).layer(tower_sse::CloseAtEndLayer::new(Farewell::close())))
        .route("/refused-once", get(events).layer(from_fn(refuse_once())))
        .layer(
            SseLayer::new()
                .keep_alive(keep_alive)
                .registry(RegistryLayer::new(registry.clone()))
                .shutdown(shutdown.clone()),
        )
        .route("/away", get(async || Html("<!doctype html><title>away</title>")))
        .route("/page/{client}", get(async |uri: Uri| Html(page(&uri))))
        .fallback(script)
        .with_state(hub)
}

/// As a balancer does while there is no server.
fn refuse_once() -> impl Fn(Request, Next) -> BoxFuture<'static, Response> + Clone {
    let first = Arc::new(AtomicBool::new(true));
    move |request, next| {
        let is_first = first.swap(false, Ordering::Relaxed);
        Box::pin(async move {
            match is_first {
                true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                false => next.run(request).await,
            }
        })
    }
}

/// Three events, and the end.
async fn finite() -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let event = |n: usize| sse::Event::default().id(n.to_string()).data(format!("<li>{n}</li>"));
    Sse::new(stream::iter((1..=3).map(move |n| Ok(event(n)))))
}

/// A script of the project, or of npm, which are on this machine.
async fn script(uri: Uri) -> Response {
    match script_file(uri.path()) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(file) => match std::fs::read(&file) {
            Ok(source) => ([(CONTENT_TYPE, "text/javascript")], source).into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// Where a script is that pages ask for by this path.
pub fn script_file(path: &str) -> Option<PathBuf> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = programs.join("../../client");
    Some(match path {
        "/tower-sse.js" | "/tower-sse.extras.js" => client.join(&path[1..]),
        "/tower-sse.classic.js" | "/tower-sse.extras.classic.js" => {
            client.join("dist").join(&path[1..])
        }
        _ => programs.join(".tools/npm/node_modules").join(path.strip_prefix("/npm/")?),
    })
}

async fn note(
    State(noted): State<Arc<Mutex<Vec<Asked>>>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().to_string();
    let id = request.headers().get(HeaderName::from_static("last-event-id"));
    let last_event_id = id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    noted.lock().expect("nobody panics with it").push(Asked { path, last_event_id, status });
    response
}

fn publish(log: &MemoryLog, published: &Mutex<(usize, String)>) {
    let mut published = published.lock().expect("nobody panics with it");
    let n = published.0 + 1;
    let event = Event::new().data(format!("<li>{n}</li>")).retry(Duration::from_millis(200));
    let id = log.append_now(&topic(), event).expect("it fits");
    *published = (n, id.to_string());
}

fn topic() -> Topic {
    Topic::new("numbers").expect("a name")
}
