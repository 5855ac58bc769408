//! What is kept is bounded: how far a body is read ahead, and what is left when all is over.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, service_fn};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Flood, Hang};
use crate::harness::resume;
use crate::harness::resume::{Handled, ask, layer, request, service};

/// One event a frame, and a count of them.
struct Counted(Arc<AtomicUsize>, usize);

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let event = format!("data: {n}{}\n\n", " ".repeat(self.1));
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

async fn taken<B>(body: &mut B, events: usize)
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
{
    for _ in 0..events {
        body.frame().await.unwrap().unwrap();
    }
    tokio::time::sleep(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_no_further_ahead_than_the_bound() {
    let polled = Arc::<AtomicUsize>::default();
    let handler = {
        let polled = Arc::clone(&polled);
        service_fn(move |_: Request<()>| {
            let body = Counted(Arc::clone(&polled), 0);
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        })
    };
    let service = layer().buffer(10).layer(handler);
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    assert_eq!(polled.load(Ordering::SeqCst), 10);
    taken(&mut body, 1).await;
    assert_eq!(polled.load(Ordering::SeqCst), 11);
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let id = resume::events(std::str::from_utf8(&frame).unwrap())[0].1.clone();
    taken(&mut body, 5).await;
    assert_eq!(polled.load(Ordering::SeqCst), 17);

    // The slower of two counts, and one that is gone counts as where it was.
    let mut slow = ask(&service, request(Some(&id))).await.into_body();
    taken(&mut body, 5).await;
    assert_eq!(polled.load(Ordering::SeqCst), 17);
    taken(&mut slow, 9).await;
    assert_eq!(polled.load(Ordering::SeqCst), 11 + 10);
    drop(body);
    drop(slow);
    tokio::time::sleep(SECOND).await;
    assert_eq!(polled.load(Ordering::SeqCst), 11 + 10);

    // What the connection lost on its way is there still.
    let mut again = ask(&service, request(Some(&id))).await.into_body();
    let frame = again.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"data: 3\n"));
}

#[tokio::test(start_paused = true)]
async fn the_bytes_that_are_read_ahead_are_bounded() {
    let polled = Arc::<AtomicUsize>::default();
    let handler = {
        let polled = Arc::clone(&polled);
        service_fn(move |_: Request<()>| {
            let body = Counted(Arc::clone(&polled), 992);
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        })
    };
    let service = layer().buffer_bytes(10_000).layer(handler);
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    assert_eq!(polled.load(Ordering::SeqCst), 10);
    taken(&mut body, 3).await;
    assert_eq!(polled.load(Ordering::SeqCst), 13);
}

#[tokio::test(start_paused = true)]
async fn when_all_is_dropped_no_task_is_left() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let handled = Handled::default();
    let service =
        service(layer().linger(10 * SECOND), &handled, || vec![Data("data: 1\n\n"), Hang]);
    let mut bodies = Vec::new();
    for _ in 0..100 {
        bodies.push(ask(&service, request(None)).await.into_body());
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!((metrics.num_alive_tasks(), service.streams()), (100, 100));
    drop(bodies);
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!((metrics.num_alive_tasks(), service.streams()), (0, 0));
}

/// Also one that waits for room.
#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_reader_ends_with_the_linger() {
    let handled = Handled::default();
    let layer = layer().linger(10 * SECOND).buffer(5);
    let service = service(layer, &handled, || vec![Flood("data: x\n\ndata: y\n\n")]);
    let body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(100 * SECOND).await;
    assert!(!handled.dropped());
    drop(body);
    tokio::time::sleep(9 * SECOND).await;
    assert!(!handled.dropped());
    tokio::time::sleep(2 * SECOND).await;
    assert!(handled.dropped());
    assert_eq!(service.streams(), 0);
}
