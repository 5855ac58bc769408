//! A drain is right also for what happens between two of its steps.
//!
//! What leaves or looks on another thread may come between any two of them. A waker is called or
//! dropped in the middle, and so tests come in there each time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tower::Layer;
use tower_sse::{DrainReport, Event, KeepAliveLayer, Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::rig::{Client, Fate, Feed, Handler, open};

type Draining = Pin<Box<dyn Future<Output = DrainReport> + Send>>;

/// Begins to drain when it is dropped, and polls that once.
struct DrainsInDrop(Mutex<(Draining, Arc<Mutex<Option<Draining>>>)>);

impl Wake for DrainsInDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for DrainsInDrop {
    fn drop(&mut self) {
        let (draining, begun) = self.0.get_mut().unwrap();
        let mut draining = std::mem::replace(draining, Box::pin(std::future::pending()));
        let polled = draining.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(report) = polled {
            draining = Box::pin(std::future::ready(report));
        }
        *begun.lock().unwrap() = Some(draining);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_stream_to_leave_is_not_waited_for_when_the_trigger_comes_meanwhile() {
    let (registry, shutdown) = (Registry::new(), Shutdown::new());
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off());
    let layer = layer.registry(registry.clone()).shutdown(shutdown.clone());
    let (_feed, mut client) = open(&mut layer.layer(Handler));
    let begun = Arc::default();
    let draining = Box::pin(async move { shutdown.drain().await });
    let waker = Waker::from(Arc::new(DrainsInDrop(Mutex::new((draining, Arc::clone(&begun))))));
    assert!(client.body().poll_frame(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    // An event is a reason for the stream to forget its waker. Only the drain's list has it then.
    registry.broadcast(Event::new().data("x"));
    assert!(client.body().poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(begun.lock().unwrap().is_none());

    drop(client);
    let draining: Draining = begun.lock().unwrap().take().expect("the waker is dropped");
    let report = timeout(Duration::from_secs(1), draining).await.expect("nobody is left");
    assert_eq!((report.streams(), report.elapsed), (0, Duration::ZERO));
}

/// Drains when it is called.
struct DrainsInWake(Shutdown, Mutex<Option<DrainReport>>);

impl Wake for DrainsInWake {
    fn wake(self: Arc<Self>) {
        // Only the first one of those that are woken.
        let report = self.0.drain().now_or_never();
        *self.1.lock().unwrap() = report;
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_comes_before_all_streams_were_told_counts_all_of_them() {
    const STREAMS: usize = 1_000;
    let shutdown = Shutdown::builder().window(Duration::ZERO).deadline(Duration::ZERO);
    let shutdown = shutdown.build().unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let mut streams: Vec<(Feed, Client)> = (0..STREAMS).map(|_| open(&mut service)).collect();
    let first = Arc::new(DrainsInWake(shutdown.clone(), Mutex::default()));
    let waker = Waker::from(Arc::clone(&first));
    let polled = streams[0].1.body().poll_frame(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    for (_feed, client) in &mut streams[1..] {
        assert_eq!(client.now().await.1, Fate::Open);
    }

    shutdown.trigger();
    let report = first.1.lock().unwrap().take().expect("the deadline has passed at once");
    assert_eq!((report.streams(), report.forced), (STREAMS, STREAMS), "{report:?}");
    assert_eq!(shutdown.drain().await, report);
}
