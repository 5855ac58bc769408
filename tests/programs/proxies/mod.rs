//! Streams through real proxies, with the settings of their packages and with those of a site that
//! compresses and caches, over HTTP/1.1 and HTTP/2.
//!
//! The idle limit of each proxy is set to two seconds.

mod dead_upstream;
mod own_limits;
mod programs;
mod scripted_upstream;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event as SseEvent, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_sse::{Event, KeepAliveLayer, NoBufferLayer, Registry, Shutdown, SseLayer};

use crate::harness::process::{Transcript, eventually};
use crate::harness::proxy::Setting;
use programs::{Http2, PROGRAMS, Production, Program, url};

/// Far below the limit of the proxies, also on a busy machine.
const KEEP_ALIVE: Duration = Duration::from_millis(200);
/// Far above it.
const SILENCE: Duration = Duration::from_secs(5);

/// The server behind a proxy.
struct Origin {
    port: u16,
    registry: Registry,
    shutdown: Shutdown,
    server: JoinHandle<std::io::Result<()>>,
}

impl Origin {
    async fn start(no_buffer: NoBufferLayer) -> Self {
        let (registry, shutdown) = (Registry::new(), Shutdown::new());
        let layers = SseLayer::new()
            .keep_alive(KeepAliveLayer::every(KEEP_ALIVE))
            .no_buffer(no_buffer)
            .registry(registry.clone())
            .shutdown(shutdown.clone());
        let opened = Arc::new(AtomicUsize::new(1));
        let app = Router::new()
            .route("/events", get(move || std::future::ready(greet(&opened))))
            .layer(layers);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let over = shutdown.clone();
        let server = axum::serve(shutdown.listen(listener), app)
            .with_graceful_shutdown(async move { over.triggered().await });
        Self { port, registry, shutdown, server: tokio::spawn(server.into_future()) }
    }
}

/// A stream that says which it is, and then nothing.
fn greet(opened: &AtomicUsize) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>> + use<>> {
    let n = opened.fetch_add(1, Ordering::Relaxed);
    let greeting = SseEvent::default().data(format!("stream {n} of the server"));
    Sse::new(stream::iter([Ok(greeting)]).chain(stream::pending()))
}

/// The number that a stream's greeting has.
fn number(text: &str) -> Option<&str> {
    Some(text.split_once("data: stream ")?.1.split_once(" of the server")?.0)
}

async fn a_stream_passes_whole(program: &Program) {
    for setting in [Setting::Stock, Setting::Production] {
        if setting == Setting::Production && program.production == Production::AsStock {
            continue;
        }
        for http2 in [None, Some(program.http2)] {
            if http2 == Some(Http2::No) {
                continue;
            }
            through(program, setting, http2).await;
        }
    }
}

async fn through(program: &Program, setting: Setting, http2: Option<Http2>) {
    println!("{}, {setting:?}, {}", program.name, http2.map_or("HTTP/1.1", |_| "HTTP/2"));
    let identity =
        setting == Setting::Production && program.production == Production::NeedsIdentity;
    let no_buffer = NoBufferLayer::new();
    let no_buffer = if identity { no_buffer.identity() } else { no_buffer };
    let origin = Origin::start(no_buffer).await;
    let proxy = program.proxy.start(setting, origin.port).await;
    let url = url(&proxy, http2, "/events");
    let version = if http2.is_some() { "--http2-prior-knowledge" } else { "--http1.1" };
    // As a browser, it takes what is compressed.
    let args = ["--compressed", version, &*url];

    // Two clients have a stream each, and what is sent arrives while both are open.
    let (mut one, mut two) = (Transcript::of(&args), Transcript::of(&args));
    for client in [&mut one, &mut two] {
        client.until(|text| number(text).is_some()).await;
    }
    assert_ne!(number(&one.text()), number(&two.text()), "two clients share a stream");
    assert_eq!(origin.registry.len(), 2);
    origin.registry.broadcast(Event::new().data("not held back"));
    for client in [&mut one, &mut two] {
        client.until(|text| text.contains("data: not held back\n\n")).await;
    }

    // A stream without events outlives the idle limit.
    tokio::join!(one.during(SILENCE), two.during(SILENCE));
    origin.registry.broadcast(Event::new().data("not cut"));
    for client in [&mut one, &mut two] {
        client.until(|text| text.contains("data: not cut\n\n")).await;
    }

    // A client that vanished is noticed.
    drop(two);
    eventually("the list has one stream", async || (origin.registry.len() == 1).then_some(()))
        .await;

    // The farewell arrives, and the end after it is clean.
    origin.shutdown.trigger();
    let (text, status) = one.end().await;
    let (_, farewell) = text.split_once("event: close\n").expect("a farewell");
    assert!(farewell.ends_with("data: {\"reason\":\"shutdown\"}\n\n"), "{farewell}");
    assert!(status.success(), "{status}");
    origin.server.await.expect("it does not panic").expect("it does not fail");
}

/// A test a proxy, so that they run side by side.
macro_rules! tried {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $test() {
                let program = PROGRAMS.iter().find(|program| program.name == $name);
                a_stream_passes_whole(program.expect("it is listed")).await;
            }
        )*

        #[test]
        fn each_proxy_of_the_list_is_tried() {
            let listed: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
            assert_eq!(listed, [$($name),*]);
        }
    };
}

tried! {
    a_stream_passes_nginx_whole: "nginx",
    a_stream_passes_haproxy_whole: "haproxy",
    a_stream_passes_apache_whole: "Apache httpd",
    a_stream_passes_varnish_whole: "varnish",
    a_stream_passes_caddy_whole: "Caddy",
    a_stream_passes_h2o_whole: "h2o",
    a_stream_passes_squid_whole: "squid",
    a_stream_passes_traffic_server_whole: "Apache Traffic Server",
    a_stream_passes_nghttpx_whole: "nghttpx",
    a_stream_passes_lighttpd_whole: "lighttpd",
    a_stream_passes_envoy_whole: "Envoy",
    a_stream_passes_http_proxy_whole: "Node http-proxy",
    a_stream_passes_express_whole: "express",
    a_stream_passes_vite_whole: "Vite",
}

/// The rows of the manual's table, as they follow from what is tried.
fn rows() -> String {
    let row = |program: &Program| {
        let http2 = if program.http2 == Http2::No { "" } else { "yes" };
        let production = match program.production {
            Production::AsStock => "",
            Production::Own => "yes",
            Production::NeedsIdentity => "with `identity`",
        };
        format!("| {} | yes | {http2} | {production} |\n", program.name).replace("  ", " ")
    };
    PROGRAMS.iter().map(row).collect()
}

#[test]
fn the_manual_lists_what_is_tried() {
    let chapter = include_str!("../../../src/manual/proxies.md");
    let table = rows();
    assert!(chapter.contains(&table), "the chapter has to have these rows:\n{table}");
}
