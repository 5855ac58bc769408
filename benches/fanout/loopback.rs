//! Bodies that hyper reads, and clients in another process.

use std::error::Error;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cost::{cpu, per_delivery};
use crate::source::{Source, runtime};
use crate::{PACES, reader};

/// What an event costs for one of so many clients, at each pace.
///
/// # Errors
///
/// When so many files may not be open here, or the clients have failed.
pub(crate) fn measure(
    source: &Source,
    clients: usize,
) -> Result<[f64; PACES.len()], Box<dyn Error>> {
    let (needed, may) = (clients + OTHER_FILES, open_files());
    if needed > may {
        return Err(format!("{needed} files have to be open, and {may} may (`ulimit -n`)").into());
    }
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        // Or an event would wait for the system to acknowledge the one before.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("it can be set"));
        let server = axum::serve(listener, source.app());
        let server = tokio::spawn(server.into_future());
        let mut readers = Readers::start(&address, clients)?;
        while source.followers() < clients {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut costs = [0.0; PACES.len()];
        for (cost, (_, at_once, _)) in costs.iter_mut().zip(PACES) {
            let deliveries: usize = if clients == 1 { 4_000 } else { 80_000 };
            let deliveries = if at_once == 1 { deliveries } else { 16 * deliveries };
            let turns = (deliveries / clients).div_ceil(at_once);
            readers.expect(at_once * clients).await?;
            // The first fill what is allocated once.
            readers.turn(source, at_once).await?;
            let before = cpu();
            for _ in 0..turns {
                readers.turn(source, at_once).await?;
            }
            *cost = per_delivery(cpu().saturating_sub(before), clients * turns * at_once);
        }
        server.abort();
        readers.stop().await?;
        Ok(costs)
    })
}

/// The process of the clients.
struct Readers {
    child: Child,
    told: ChildStdin,
    tells: ChildStdout,
}

impl Readers {
    fn start(address: &str, clients: usize) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([reader::NAME, address, &clients.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (told, tells) = (child.stdin.take(), child.stdout.take());
        Ok(Self { child, told: told.expect("a pipe"), tells: tells.expect("a pipe") })
    }

    /// Has them say from now on when they have read so many events together.
    async fn expect(&mut self, events: usize) -> std::io::Result<()> {
        self.told.write_all(&u64::try_from(events).expect("it fits").to_le_bytes()).await?;
        self.have_read().await
    }

    /// Publishes, and waits until all have all of it.
    async fn turn(&mut self, source: &Source, at_once: usize) -> std::io::Result<()> {
        (0..at_once).for_each(|_| source.publish());
        self.have_read().await
    }

    async fn have_read(&mut self) -> std::io::Result<()> {
        self.tells.read_u8().await.map(drop)
    }

    async fn stop(mut self) -> std::io::Result<()> {
        drop(self.told);
        self.child.wait().await.map(drop)
    }
}

/// How many files this process may open.
fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// Those of the program and its runtimes.
const OTHER_FILES: usize = 100;
