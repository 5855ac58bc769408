//! A client of HTTP/2 that sends whatever frames a test wants.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::harness::LONG;

pub const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Of DATA and HEADERS.
const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
const ACK: u8 = 1;

/// What a frame of the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The head of a response.
    Head(u32),
    Data(u32, Vec<u8>),
    /// The end of a stream.
    End(u32),
    Reset(u32),
    Pong,
    GoAway,
}

/// What a peer writes.
#[derive(Debug)]
pub struct Writes(OwnedWriteHalf);

/// What a peer reads.
#[derive(Debug)]
pub struct Reads {
    stream: OwnedReadHalf,
    /// The end that the last frame had, beside its data.
    end: Option<u32>,
}

/// A connection whose streams have this window at first. That of the connection is as large as it
/// can be.
pub async fn connect(to: SocketAddr, window: u32) -> (Writes, Reads) {
    let (reads, writes) = TcpStream::connect(to).await.unwrap().into_split();
    let mut writes = Writes(writes);
    writes.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let initial_window = [&[0, 4][..], &window.to_be_bytes()].concat();
    writes.send(SETTINGS, 0, 0, &initial_window).await;
    writes.window(0, i32::MAX.unsigned_abs() - 65_535).await;
    (writes, Reads { stream: reads, end: None })
}

impl Writes {
    /// The server may be gone.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.is_ok()
    }

    /// Asks for an event stream.
    pub async fn get(&mut self, stream: u32, path: &str) -> bool {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        // GET and http of the table; then values of the names 1, 4 and 19, which are not put into
        // it.
        let mut block = vec![0x82, 0x86];
        block.extend([&[0x01], &text("localhost")[..], &[0x04], &text(path)].concat());
        block.extend([&[0x0f, 0x04], &text("text/event-stream")[..]].concat());
        let end_headers = 4;
        self.send(HEADERS, END_STREAM | end_headers, stream, &block).await
    }

    pub async fn reset(&mut self, stream: u32) -> bool {
        let cancel = 8_u32;
        self.send(RST_STREAM, 0, stream, &cancel.to_be_bytes()).await
    }

    pub async fn window(&mut self, stream: u32, bytes: u32) -> bool {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()).await
    }

    pub async fn ping(&mut self) -> bool {
        self.send(PING, 0, 0, b"a ping..").await
    }

    pub async fn go_away(&mut self, error: u32) -> bool {
        let last_stream = 0_u32;
        let payload = [last_stream.to_be_bytes(), error.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await
    }
}

impl Reads {
    /// The next frame that says something. None when the connection is over.
    pub async fn next(&mut self) -> Option<Frame> {
        if let Some(stream) = self.end.take() {
            return Some(Frame::End(stream));
        }
        loop {
            let mut head = [0; 9];
            let read = timeout(LONG, self.stream.read_exact(&mut head)).await;
            read.expect("a frame, or the end").ok()?;
            let [high, middle, low, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(stream);
            let is_end = flags & END_STREAM != 0;
            return Some(match kind {
                DATA if payload.is_empty() && is_end => Frame::End(stream),
                DATA => {
                    self.end = is_end.then_some(stream);
                    Frame::Data(stream, payload)
                }
                HEADERS if is_end => Frame::End(stream),
                HEADERS => Frame::Head(stream),
                RST_STREAM => Frame::Reset(stream),
                PING if flags & ACK != 0 => Frame::Pong,
                GOAWAY => Frame::GoAway,
                _ => continue,
            });
        }
    }
}
