//! From which length on an event with an addition had better leave in two frames than in one copy.
//!
//! ```text
//! cargo bench --bench crossover
//! ```
//!
//! A server sends events over a socket, each with an added line: copied into one frame with it, or
//! as two frames. The best of several turns is shown, in nanoseconds an event.

mod support;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TURNS: usize = 7;
const ADDITION: &[u8] = b"id: 1\n\n";

fn main() {
    println!("{:>8}{:>12}{:>12}{:>8}", "bytes", "one copy", "two frames", "ratio");
    for size in [256, 1024, 2048, 4096, 8192, 16384, 65536] {
        let mut best = [Duration::MAX; 2];
        for _ in 0..TURNS {
            for (best, copy) in best.iter_mut().zip([true, false]) {
                *best = support::runtime().block_on(send(size, copy)).min(*best);
            }
        }
        let [copied, two] = best.map(|time| time.as_secs_f64() * 1e9);
        println!("{size:>8}{copied:>12.0}{two:>12.0}{:>8.2}", copied / two);
    }
}

/// The time an event takes from one end of a socket to the other.
async fn send(size: usize, copy: bool) -> Duration {
    let events = (64 * 1024 * 1024 / size).min(20_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a client");
        let service = service_fn(move |_| async move {
            Ok::<_, Infallible>(http::Response::new(body(size, events, copy)))
        });
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(TokioIo::new(socket), service).await;
    });
    let mut client = TcpStream::connect(address).await.expect("a server");
    let start = Instant::now();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut buffer = vec![0; 256 * 1024];
    while client.read(&mut buffer).await.expect("read") > 0 {}
    start.elapsed() / u32::try_from(events).expect("few")
}

fn body(
    size: usize,
    events: usize,
    copy: bool,
) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    let event: &'static [u8] = support::event(size).leak();
    let frames = (0..events).flat_map(move |_| match copy {
        true => vec![Bytes::from([event, ADDITION].concat())],
        false => vec![Bytes::from_static(event), Bytes::from_static(ADDITION)],
    });
    StreamBody::new(stream::iter(frames.map(|frame| Ok(Frame::data(frame)))))
}
