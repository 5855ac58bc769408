//! An upstream that sends the first event of a stream, and then nothing.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The head and the first event of a stream that has not ended.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n\
    transfer-encoding: chunked\r\n\r\nb\r\n:\ndata: a\n\n\r\n";

/// Answers with a stream, and closes the connection in the middle of it, as the system does for a
/// process that was killed.
async fn answer(mut connection: TcpStream, killed: Arc<Notify>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(connection.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    connection.write_all(STREAM.as_bytes()).await.expect("the proxy reads");
    killed.notified().await;
}

/// A server of one stream a connection. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct ScriptedUpstream {
    pub(super) port: u16,
    killed: Arc<Notify>,
    server: JoinHandle<()>,
}

impl ScriptedUpstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let killed = Arc::new(Notify::new());
        let server = tokio::spawn({
            let killed = Arc::clone(&killed);
            async move {
                while let Ok((connection, _)) = listener.accept().await {
                    tokio::spawn(answer(connection, Arc::clone(&killed)));
                }
            }
        });
        Self { port, killed, server }
    }

    /// Closes the connection of a stream.
    pub(super) fn kill(&self) {
        self.killed.notify_one();
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}
