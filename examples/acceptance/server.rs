//! One server after the other in one process: what a shutdown ends and a resume begins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::response::Response;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_sse::{
    EndReason, EventId, EventIdLayer, Farewell, InvalidSetting, KeepAliveLayer, Registry, Shutdown,
    SseLayer,
};

use super::times::Times;
use super::{chat, resumable, streams};

/// The server of the moment. Handles are cheap to clone and share it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Of all servers, so that streams which are still closing are counted.
    registry: Registry,
    ended: Ended,
    times: Times,
    current: Arc<Mutex<Current>>,
}

/// What a new process would have anew.
#[derive(Debug)]
struct Current {
    /// In the ids of its events, to tell them from those of earlier servers.
    epoch: u64,
    shutdown: Shutdown,
    streams: Router,
}

impl Server {
    pub(super) fn start(times: Times) -> Result<Self, InvalidSetting> {
        let ended = Ended::default();
        let counts = ended.clone();
        let registry = Registry::builder()
            .count_events(true)
            .on_close(move |_, reason| counts.count(reason))
            .build()?;
        let current = Arc::new(Mutex::new(Current::new(&registry, times, 0)?));
        let server = Self { registry, ended, times, current };
        tokio::spawn(close_some(server.registry.clone()));
        Ok(server)
    }

    pub(super) fn shut_down(&self) {
        self.current().shutdown.trigger();
    }

    /// Puts a new server in the place of the one that was shut down.
    pub(super) fn resume(&self) -> Result<(), InvalidSetting> {
        let mut current = self.current();
        if current.shutdown.is_draining() {
            *current = Current::new(&self.registry, self.times, current.epoch)?;
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> Json<Value> {
        let current = self.current();
        Json(json!({
            "live": self.registry.len(),
            "draining": current.shutdown.is_draining(),
            "epoch": current.epoch,
            "ended": self.ended.to_json(),
        }))
    }

    /// Answers by the streams of the moment.
    pub(super) async fn call(&self, request: Request) -> Response {
        let streams = self.current().streams.clone();
        match streams.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // Each change is one assignment, so there is nothing to mend after a panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(registry: &Registry, times: Times, before: u64) -> Result<Self, InvalidSetting> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // Two starts within a second, or a clock that was put back, are two epochs all the same.
        let epoch = now.map_or(0, |now| now.as_secs()).max(before + 1);
        let shutdown = times.shutdown().retry(RETRY..=RETRY).build()?;
        let layer = SseLayer::new()
            .keep_alive(KeepAliveLayer::every(Duration::from_millis(150)))
            .event_ids(EventIdLayer::with(move |n| EventId::with_epoch(epoch, n)))
            .registry(registry.clone())
            .shutdown(shutdown.clone());
        let streams = streams::routes().merge(chat::routes()).merge(resumable::routes());
        Ok(Self { epoch, shutdown, streams: streams.layer(layer) })
    }
}

/// How many streams have ended, by reason.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Ended {
    fn count(&self, reason: EndReason) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(reason.as_str()).or_default() += 1;
    }

    fn to_json(&self) -> Value {
        json!(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Closes the streams of `/closing`, as an operator or a logout would.
async fn close_some(registry: Registry) {
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        registry.close_where(
            |stream| &*stream.path == "/closing" && stream.started.elapsed() > CLOSING,
            Farewell::close(),
        );
    }
}

/// Exactly half a second, for programs that check the text.
const RETRY: Duration = Duration::from_millis(500);

/// Long enough for some events.
const CLOSING: Duration = Duration::from_secs(1);
