//! Heap of a stream, and allocations an event.
//!
//! ```text
//! cargo bench --bench memory            # the table
//! cargo bench --bench memory -- --check # fails if a promise of the README is not kept
//! ```

mod support;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
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
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use support::figures::figure;
use support::{
    Boxed, Framing, Pace, PassThrough, STACKS, Source, Stack, axum_sse, axum_sse_of, boxed, poll,
    runtime,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};
use tower_sse::{EarlyHeadLayer, Event, Farewell, Shutdown, ShutdownLayer, SseLayer};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The stacks whose memory is promised.
const PROMISED: [&str; 2] = ["keep_alive", "keep_alive+shutdown"];

/// The most that a drain may add to a stream, also with a layer of its own for each connection.
const FAREWELL: f64 = 512.0;

/// Whether an `EarlyHeadLayer` names a request, and the most heap that it may add to it. One that
/// is not named has a larger future, and no allocation more.
const WAITING: [(&str, bool, f64); 2] = [("not named", false, 16.0), ("named", true, 768.0)];

/// Settings of a connection, and the words around what the manual says that it takes, in KB.
const CONNECTIONS: [(&str, Option<usize>, (&str, &str)); 2] = [
    ("default buffers", None, ("an idle connection takes about ", " KB with the defaults")),
    ("buffers of 8 KiB", Some(8 * 1024), ("With 8 KiB, the least, it takes ", " KB")),
];

/// How far what is measured may be from what is said to be about it.
const ABOUT: f64 = 0.05;

/// The most heap of a stream at any time, in KiB: twice the hold limit.
const HELD: usize = 128;

/// Enough that what a server has once does not show.
const STREAMS: usize = 10_000;

/// Each has two sockets.
const CLIENTS: usize = 100;

const FRAMES: usize = 1_000;

fn main() -> ExitCode {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = runtime();
    let _context = runtime.enter();
    let mut broken = 0;

    let costs = |before, after| figure("src/manual/costs.md", before, after);
    let most = costs("An idle stream takes at most ", " bytes of heap");

    println!("heap of an idle stream over that of its boxed body, in bytes");
    println!("{:<24}{:>8}{:>20}", "", "", "after an event");
    for name in STACKS {
        let each = [Pace::Idle, Pace::Once].map(|pace| {
            let stack = Stack::named(name);
            let source = || Source::of(64, 1, pace);
            heap(|| boxed(stack.body(source()))) - heap(|| boxed(PassThrough(source())))
        });
        println!("{name:<24}{:>8.1}{:>20.1}", each[0], each[1]);
        let is_promised = PROMISED.contains(&name);
        broken += usize::from(is_promised && each.iter().any(|cost| *cost > most));
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

    println!("\nheap of an idle connection of hyper with a stream, in bytes");
    let is_about = |cost: f64, said: f64| (cost - said).abs() <= said * ABOUT;
    for (name, max_buf_size, (before, after)) in CONNECTIONS {
        // In a runtime of its own, which ends its connections.
        let cost = support::runtime().block_on(connection(max_buf_size)).expect("it has sockets");
        println!("{name:<24}{cost:>8.1}");
        let said = 1000.0 * figure("src/manual/hyper.md", before, after);
        broken += usize::from(!is_about(cost, said));
        if max_buf_size.is_none() {
            let times = costs("The connection below it takes about ", " times as much");
            broken += usize::from(!is_about(cost / most, times));
        }
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

/// Heap of one of many connections with a stream, served as in the manual's chapter about hyper.
#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
async fn connection(max_buf_size: Option<usize>) -> std::io::Result<f64> {
    let mut builder = Builder::new(TokioExecutor::new());
    if let Some(size) = max_buf_size {
        builder.http1().max_buf_size(size);
    }
    let (shutdown, graceful) = (Shutdown::new(), GracefulShutdown::new());
    let handler = service_fn(|_: Request<Incoming>| async {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Source::of(64, 1, Pace::Idle)).expect("valid"))
    });
    let service = SseLayer::new().shutdown(shutdown.clone()).layer(handler);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut clients = Vec::with_capacity(2 * CLIENTS);
    let mut before = 0;
    // The first ones fill what the runtime has once.
    for n in 0..2 * CLIENTS {
        if n == CLIENTS {
            before = dhat::HeapStats::get().curr_bytes;
        }
        let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        client.set_nonblocking(true)?;
        let io = TokioIo::new(shutdown.guard(listener.accept().await?.0));
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(graceful.watch(builder.serve_connection(io, service).into_owned()));
        while client.read(&mut [0; 1024]).is_err() {
            tokio::task::yield_now().await;
        }
        clients.push(client);
    }
    Ok((dhat::HeapStats::get().curr_bytes - before) as f64 / CLIENTS as f64)
}

/// Heap that a drain adds to one of many streams, with the farewell that it gave out. Each stream
/// has a layer of its own, and if `own` is true, a farewell of its own, too.
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
