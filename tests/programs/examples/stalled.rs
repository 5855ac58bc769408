//! The examples with a client that does not read.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::process::{Example, eventually};

#[tokio::test]
async fn sigterm_ends_the_processes_by_the_deadline_whatever_clients_do() {
    for (name, path) in [("acceptance", "/firehose"), ("demo", "/silent")] {
        let deadline = [("DRAIN_DEADLINE_MS", "1000")];
        let mut example = Example::start(name, &deadline).await;
        let _stopped = stopped(&example, path).await;
        let _silent = connect(&example, "").await;
        let _half = connect(&example, "GET / HT").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let signalled = Instant::now();
        example.signal("TERM").await;
        let (status, ended) = example.exit().await;
        assert_eq!(status.code(), Some(0), "{name}");
        let took = ended - signalled;
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_the_firehose_is_counted_as_stalled() {
    let server = Example::start("acceptance", &[("STALL_MS", "500")]).await;
    let _stopped = stopped(&server, "/firehose").await;
    let ended = eventually("the stream ends", async || {
        let stats: Value = serde_json::from_str(&server.get("/stats").await).expect("JSON");
        (stats["live"] == 0).then(|| stats["ended"].clone())
    });
    assert_eq!(ended.await, serde_json::json!({ "stalled": 1 }));
}

async fn connect(example: &Example, words: &str) -> TcpStream {
    let url = example.url("");
    let address = url.strip_prefix("http://").expect("it is one");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(words.as_bytes()).await.expect("it reads");
    stream
}

/// A client that has seen the head of a stream, and reads no more.
async fn stopped(example: &Example, path: &str) -> TcpStream {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut stream = connect(example, &head).await;
    stream.read_exact(&mut [0; 64]).await.expect("a head");
    stream
}
