//! A client that is cut off again and again gets every event once and in order.

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
use tower_sse::wire::Decoder;

use crate::harness::LONG;
use crate::harness::resume::{ask, layer, request};

const RECONNECTS: usize = 1_000;

/// Events without end, as fast as they are taken, in chunks that begin and end anywhere.
struct Flood {
    text: Vec<u8>,
    next: usize,
    random: u64,
    written: Arc<AtomicUsize>,
}

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = usize::try_from(self.random >> 33).unwrap() % 300 + 1;
        while self.text.len() < len {
            let n = self.next;
            self.next += 1;
            self.written.store(n, Ordering::Relaxed);
            let event = format!("event: tick\ndata: {n}\n{}\n", "data: \u{e9}\n".repeat(n % 5));
            self.text.extend_from_slice(event.as_bytes());
        }
        let rest = self.text.split_off(len);
        let chunk = std::mem::replace(&mut self.text, rest);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_lose_and_repeat_nothing() {
    let (calls, written) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let handler = {
        let (calls, written) = (Arc::clone(&calls), Arc::clone(&written));
        service_fn(move |_: Request<()>| {
            calls.fetch_add(1, Ordering::Relaxed);
            let body =
                Flood { text: Vec::new(), next: 0, random: 3, written: Arc::clone(&written) };
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        })
    };
    // Twice as many events as a client ever takes from a connection before it breaks.
    let layer = layer().buffer(1024);
    let service = layer.layer(handler);
    let (mut last, mut next, mut random) = (None::<String>, 0, 7_u64);
    let mut cut_inside = 0;
    for _ in 0..RECONNECTS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut left = usize::try_from(random >> 33).unwrap() % 5_000 + 100;
        let response = ask(&service, request(last.as_deref())).await;
        let (mut body, mut decoder) = (response.into_body(), Decoder::new());
        while left > 0 {
            let frame = tokio::time::timeout(LONG, body.frame()).await;
            let bytes = frame.expect("more comes").expect("no end").unwrap().into_data().unwrap();
            let cut = bytes.len().min(left);
            cut_inside += usize::from(cut < bytes.len());
            left -= cut;
            for event in decoder.decode(&bytes[..cut]) {
                assert_eq!(event.event, "tick");
                assert_eq!(event.data.lines().next(), Some(&*next.to_string()));
                next += 1;
                last = Some(event.last_event_id);
            }
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(cut_inside > RECONNECTS / 2 && next > 10 * RECONNECTS, "{cut_inside} {next}");
    // The body was never read further ahead than it may be, and than one chunk holds.
    let ahead = written.load(Ordering::Relaxed) - next;
    assert!(ahead <= 1024 + 100 + 300, "{ahead}");
}
