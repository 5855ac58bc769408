//! Which proxies make a clean end of a stream whose upstream was killed.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::programs::{Http2, PROGRAMS, Program, url};
use crate::harness::figures::in_one_line;
use crate::harness::process::Transcript;
use crate::harness::proxy::Setting;

/// The head and the first event of a stream that has not ended.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n\
    transfer-encoding: chunked\r\n\r\nb\r\n:\ndata: a\n\n\r\n";

/// Answers with a stream, and closes the connection in the middle of it, as the system does for a
/// process that was killed.
async fn die(mut connection: TcpStream, killed: Arc<Notify>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(connection.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    connection.write_all(STREAM.as_bytes()).await.expect("the proxy reads");
    killed.notified().await;
}

/// Whether a client gets a clean end.
async fn hides_death(program: &Program, http2: Option<Http2>) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let killed = Arc::new(Notify::new());
    let upstream = tokio::spawn({
        let killed = Arc::clone(&killed);
        async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(die(connection, Arc::clone(&killed)));
            }
        }
    });
    let proxy = program.proxy.start(Setting::Stock, port).await;
    let version = if http2.is_some() { "--http2-prior-knowledge" } else { "--http1.1" };
    let mut client = Transcript::of(&[version, &url(&proxy, http2, "/events")]);
    client.until(|text| text.contains("data: a\n\n")).await;
    killed.notify_one();
    let (_, status) = client.end().await;
    upstream.abort();
    println!("{}, {version}: {status}", program.name);
    status.success()
}

/// Names as a sentence lists them.
fn list(names: &[&str]) -> String {
    let (last, others) = names.split_last().expect("there is one");
    format!("{} and {last}", others.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manual_names_the_proxies_that_hide_that_an_upstream_was_killed() {
    let (mut always, mut over_http2) = (Vec::new(), Vec::new());
    for program in PROGRAMS {
        let hides = hides_death(program, None).await;
        let version = Some(program.http2).filter(|it| *it != Http2::No);
        let hides_over_http2 = match version {
            Some(_) => hides_death(program, version).await,
            None => hides,
        };
        match (hides, hides_over_http2) {
            (true, true) => always.push(program.name),
            (false, true) => over_http2.push(program.name),
            (true, false) => panic!("{}: the manual has no word for that", program.name),
            (false, false) => {}
        }
    }
    let sentence = format!(
        "Through {}, and over HTTP/2 through {}, an upstream that was killed looks to the client \
         like a clean end",
        list(&always),
        list(&over_http2)
    );
    let chapter = in_one_line("src/manual/proxies.md");
    assert!(chapter.contains(&sentence), "the chapter has to say: {sentence}");
}
