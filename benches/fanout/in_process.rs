//! Bodies that tasks of one runtime read: the cost without HTTP and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::PACES;
use crate::cost::{cpu, per_delivery};
use crate::source::{Source, count, runtime};

/// What an event costs for one of so many clients, at each pace.
pub(crate) fn measure(source: &Source, clients: usize) -> [f64; PACES.len()] {
    PACES.map(|(_, at_once, _)| {
        let deliveries: usize = if clients == 1 { 20_000 } else { 400_000 };
        let turns = (deliveries / clients).div_ceil(at_once);
        runtime().block_on(read(source, clients, turns, at_once))
    })
}

async fn read(source: &Source, clients: usize, turns: usize, at_once: usize) -> f64 {
    let seen = Arc::new(AtomicUsize::new(0));
    for _ in 0..clients {
        let request = Request::new(axum::body::Body::empty());
        let mut body = source.app().oneshot(request).await.expect("infallible").into_body();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let data = frame.expect("infallible").into_data().expect("no trailers");
                seen.fetch_add(count(&data), Ordering::Relaxed);
            }
        });
    }
    tokio::task::yield_now().await;
    let before = cpu();
    for turn in 1..=turns {
        (0..at_once).for_each(|_| source.publish());
        while seen.load(Ordering::Relaxed) < turn * at_once * clients {
            tokio::task::yield_now().await;
        }
    }
    per_delivery(cpu().saturating_sub(before), clients * turns * at_once)
}
