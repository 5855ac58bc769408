//! The process of the clients, which this program starts of itself.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::source::{count, runtime};

/// The first argument of a program that is this.
pub(crate) const NAME: &str = "read";

/// How many events are to be read until it is told so, and how many of them are still to come.
#[derive(Default)]
struct Expected {
    each: AtomicU64,
    left: AtomicU64,
}

/// Reads as so many clients until its input ends. A number that is read there, of 8 bytes, is how
/// many events they are to get together; one byte is written for that, and for each time they have.
pub(crate) fn run(address: SocketAddr, clients: usize) -> io::Result<()> {
    let expected = Arc::new(Expected::default());
    runtime().block_on(async {
        for _ in 0..clients {
            let mut client = TcpStream::connect(address).await?;
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
            // Before the next one comes, which the system would send away from a long queue for a
            // second.
            client.readable().await?;
            tokio::spawn(read(client, Arc::clone(&expected)));
        }
        let mut input = tokio::io::stdin();
        while let Ok(events) = input.read_u64_le().await {
            expected.each.store(events, Ordering::Relaxed);
            expected.left.store(events, Ordering::Relaxed);
            tell()?;
        }
        // The input's thread would be waited for.
        std::process::exit(0);
    })
}

async fn read(mut client: TcpStream, expected: Arc<Expected>) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(len @ 1..) = client.read(&mut buffer).await {
        let new = count(&buffer[..len]) as u64;
        if new > 0 && expected.left.fetch_sub(new, Ordering::Relaxed) == new {
            expected.left.store(expected.each.load(Ordering::Relaxed), Ordering::Relaxed);
            // Who does not read it any more has stopped.
            let _ = tell();
        }
    }
}

fn tell() -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(b".")?;
    output.flush()
}
