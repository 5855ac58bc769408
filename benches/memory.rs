//! Heap of a stream, and allocations an event.
//!
//! ```text
//! cargo bench --bench memory            # the table
//! cargo bench --bench memory -- --check # fails if a promise of the README is not kept
//! ```

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::pending;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use support::{
    Boxed, Framing, Pace, PassThrough, STACKS, Source, Stack, axum_sse, axum_sse_of, boxed, poll,
    runtime,
};
use tower::{Layer, Service, service_fn};
use tower_sse::{EarlyHeadLayer, Event, Farewell, Shutdown, ShutdownLayer};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The stacks whose memory is promised, and the most that it may be. A timer is 112 bytes of it.
const PROMISED: [(&str, f64); 2] = [("keep_alive", 256.0), ("keep_alive+shutdown", 256.0)];

/// The most that a drain may add to a stream, also with a layer of its own for each connection.
const FAREWELL: f64 = 512.0;

/// Whether an `EarlyHeadLayer` names a request, and the most heap that it may add to it. One that is
/// not named has a larger future, and no allocation more.
const WAITING: [(&str, bool, f64); 2] = [("not named", false, 16.0), ("named", true, 768.0)];

/// The most heap of a stream at any time, in KiB: twice the hold limit.
const HELD: usize = 128;

/// Enough that what a server has once does not show.
const STREAMS: usize = 10_000;
const FRAMES: usize = 1_000;

fn main() -> ExitCode {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = runtime();
    let _context = runtime.enter();
    let mut broken = 0;

    println!("heap of an idle stream over that of its boxed body, in bytes");
    println!("{:<24}{:>8}{:>20}", "", "", "after an event");
    for name in STACKS {
        let costs = [Pace::Idle, Pace::Once].map(|pace| {
            let stack = Stack::named(name);
            let source = || Source::of(64, 1, pace);
            heap(|| boxed(stack.body(source()))) - heap(|| boxed(PassThrough(source())))
        });
        println!("{name:<24}{:>8.1}{:>20.1}", costs[0], costs[1]);
        let most = PROMISED.iter().filter(|(of, _)| *of == name).map(|(_, most)| *most);
        broken += most.filter(|most| costs.iter().any(|cost| cost > most)).count();
    }

    let idle = |keep_alive| heap(|| boxed(axum_sse_of(pending(), keep_alive)));
    let axum = idle(true) - idle(false);
    println!("{:<24}{axum:>8.1}", "axum's KeepAlive");

    println!("\nheap that a drain adds to a stream, with its farewell, in bytes");
    for (name, own) in [("one farewell for all", false), ("a farewell for each", true)] {
        let cost = drained(own);
        println!("{name:<24}{cost:>8.1}");
        broken += usize::from(cost > FAREWELL);
    }

    println!("\nallocations a frame");
    for name in STACKS {
        let stack = Stack::named(name);
        let count = allocations(boxed(stack.body(Source::of(256, 1, Pace::Burst))));
        println!("{name:<24}{count:>8.2}");
        broken += usize::from(name == "keep_alive+shutdown" && count > 0.0);
    }
    println!("{:<24}{:>8.2}", "axum Sse", allocations(boxed(axum_sse(256, false))));
    println!("{:<24}{:>8.2}", "axum + KeepAlive", allocations(boxed(axum_sse(256, true))));

    println!(
        "\nheap that an early head adds to a request that waits, in bytes, and its allocations"
    );
    let bare = waiting(None);
    for (name, named, most) in WAITING {
        let (bytes, blocks) = waiting(Some(named));
        let (bytes, blocks) = (bytes - bare.0, blocks - bare.1);
        println!("{name:<24}{bytes:>8.1}{blocks:>8.2}");
        broken += usize::from(bytes > most || (!named && blocks > 0.0));
    }

    println!("\nthe most heap of a stream whose event never ends, in KiB");
    for (framing, name, begin) in ENDLESS {
        let most = endless(framing, begin).div_ceil(1024);
        println!("{name:<24}{most:>8}");
        broken += usize::from(most > HELD);
    }

    if broken > 0 && std::env::args().any(|argument| argument == "--check") {
        println!("\n{broken} figures are above what is promised");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The most heap that a stream needs at any time, after a body began so and goes on for 16 MiB. All
/// that the body gives is on the heap, too.
fn endless(framing: Framing, begin: &'static [u8]) -> usize {
    let mut body = boxed(Stack::framed(framing).body(Endless(Some(begin))));
    let before = dhat::HeapStats::get().curr_bytes;
    let most = (0..1024).map(|_| {
        poll(&mut body);
        dhat::HeapStats::get().curr_bytes.saturating_sub(before)
    });
    most.max().unwrap_or_default()
}

/// A body of one event that never ends, in frames of 16 KiB.
#[derive(Debug)]
struct Endless(Option<&'static [u8]>);

impl Body for Endless {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let begin = self.0.take().map(Bytes::from_static);
        let frame = begin.unwrap_or_else(|| vec![b'A'; 16 * 1024].into());
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}

#[rustfmt::skip]
const ENDLESS: [(Framing, &str, &[u8]); 11] = [
    (Framing::Events,   "events",                    b"data: "),
    (Framing::Lines,    "ndjson",                    b"\""),
    (Framing::Messages, "grpc, 4 GiB",               b"\0\xff\xff\xff\xff"),
    (Framing::Messages, "grpc, no such flag",        b"\x02"),
    (Framing::Web,      "grpc-web, 4 GiB",           b"\0\xff\xff\xff\xff"),
    (Framing::Web,      "grpc-web, last of 4 GiB",   b"\x80\xff\xff\xff\xff"),
    (Framing::Web,      "grpc-web, no such flag",    b"\x7f"),
    (Framing::WebText,  "grpc-web-text, 4 GiB",      b"AP////8="),
    (Framing::WebText,  "grpc-web-text, no base64",  b"\xff"),
    (Framing::WebText,  "grpc-web-text, empty",      b"AAAAAAAA"),
    (Framing::Connect,  "connect, last of 4 GiB",    b"\x02\xff\xff\xff\xff"),
];

/// Heap of one of many streams that were polled until they had nothing.
#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn heap(make: impl Fn() -> Boxed) -> f64 {
    let mut streams = Vec::with_capacity(STREAMS);
    let before = dhat::HeapStats::get().curr_bytes;
    for _ in 0..STREAMS {
        let mut body = make();
        while poll(&mut body) > 0 {}
        streams.push(body);
    }
    (dhat::HeapStats::get().curr_bytes - before) as f64 / STREAMS as f64
}

/// Heap that a drain adds to one of many streams, with the farewell that it gave out. Each stream has
/// a layer of its own, and if `own` is true, a farewell of its own, too.
#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn drained(own: bool) -> f64 {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().expect("valid");
    let farewell = || Farewell::event(Event::new().data("the server is restarted"));
    let shared = farewell();
    let mut streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let farewell = if own { farewell() } else { shared.clone() };
            let layer = ShutdownLayer::new(shutdown.clone()).farewell(farewell);
            let mut body =
                boxed(Stack::of(layer, shutdown.clone()).body(Source::of(64, 1, Pace::Idle)));
            while poll(&mut body) > 0 {}
            body
        })
        .collect();
    let mut farewells = Vec::with_capacity(STREAMS);
    shutdown.trigger();
    let before = dhat::HeapStats::get().curr_bytes;
    for body in &mut streams {
        farewells
            .push(body.frame().now_or_never().flatten().expect("a farewell").expect("no error"));
    }
    (dhat::HeapStats::get().curr_bytes - before) as f64 / STREAMS as f64
}

/// Heap and allocations of one of many requests whose handler thinks, with its future.
fn waiting(named: Option<bool>) -> (f64, f64) {
    // A future of a byte at least, which is allocated.
    let handler = service_fn(|_: Request<()>| std::future::pending::<Answer>().fuse());
    match named {
        None => waiting_for(handler),
        Some(named) => {
            waiting_for(EarlyHeadLayer::new().for_requests(move |_| named).layer(handler))
        }
    }
}

type Answer = Result<Response<Empty<Bytes>>, Infallible>;

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn waiting_for<S: Service<Request<()>>>(mut service: S) -> (f64, f64) {
    let mut futures: Vec<Pin<Box<S::Future>>> = Vec::with_capacity(STREAMS);
    let before = dhat::HeapStats::get();
    for _ in 0..STREAMS {
        let mut future = Box::pin(service.call(Request::new(())));
        assert!(future.as_mut().now_or_never().is_none());
        futures.push(future);
    }
    let after = dhat::HeapStats::get();
    let each = |count: f64| count / STREAMS as f64;
    let bytes = after.curr_bytes - before.curr_bytes;
    (each(bytes as f64), each((after.total_blocks - before.total_blocks) as f64))
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn allocations(mut body: Boxed) -> f64 {
    for _ in 0..FRAMES {
        poll(&mut body);
    }
    let before = dhat::HeapStats::get().total_blocks;
    for _ in 0..FRAMES {
        poll(&mut body);
    }
    (dhat::HeapStats::get().total_blocks - before) as f64 / FRAMES as f64
}
