//! NATS servers that the tests start themselves, and what reads logs there.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower_sse::log::{EventLog, Follow, Gap, NatsFollower, NatsLog, NatsLogBuilder};
use tower_sse::log::{Start, Step, Topic, Topics};
use tower_sse::wire::{Event, EventId};

/// A server with `JetStream`, in a directory of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    directory: PathBuf,
    child: Child,
}

impl Nats {
    pub async fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-sse-nats-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let free = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = spawn(port, &directory);
        let nats = Self { port, directory, child };
        nats.answers().await;
        nats
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// With SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// With what was stored.
    pub async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory);
        self.answers().await;
    }

    /// Has it forget all that was stored. It must have been killed.
    pub fn forget(&self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    pub async fn log(&self) -> NatsLog {
        self.log_with(settings()).await
    }

    pub async fn log_with(&self, settings: NatsLogBuilder) -> NatsLog {
        settings.connect(self.url()).await.unwrap()
    }

    /// The stream as the server sees it.
    pub async fn stream(&self) -> async_nats::jetstream::stream::Stream {
        let client = async_nats::connect(self.url()).await.unwrap();
        async_nats::jetstream::new(client).get_stream("sse").await.unwrap()
    }

    async fn answers(&self) {
        let connected = timeout(LONG, async {
            while TcpStream::connect(self.address()).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        connected.await.expect("the server answers");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(port: u16, directory: &PathBuf) -> Child {
    let mut command = Command::new("nats-server");
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("`nats-server` is installed")
}

/// A way to a server that can be cut: connections end, and new ones are refused.
#[derive(Debug)]
pub struct Way {
    server: SocketAddr,
    own: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Way {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap();
        let task = Some(tokio::spawn(carry(listener, server)));
        Self { server, own, task }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.own)
    }

    pub async fn cut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.own).await.unwrap();
        self.task = Some(tokio::spawn(carry(listener, self.server)));
    }
}

async fn carry(listener: TcpListener, server: SocketAddr) {
    // Ends all of them when it is dropped.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

/// The defaults, with less room that the server sets aside: disks of machines with tests are full at
/// times.
pub fn settings() -> NatsLogBuilder {
    NatsLog::builder().bytes(16 * 1024 * 1024)
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub fn topics(names: &[&str]) -> Topics {
    Topics::new(names).unwrap()
}

pub fn data(text: impl Into<String>) -> Event {
    Event::new().data(text)
}

pub fn after(id: &EventId) -> Start {
    Start::After(id.clone())
}

pub async fn append(log: &NatsLog, name: &str, text: &str) -> EventId {
    log.append(&topic(name), data(text)).await.unwrap()
}

pub async fn step(follower: &mut NatsFollower) -> Step {
    let step = timeout(LONG, poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx))).await;
    step.expect("something comes").expect("it does not end")
}

/// The data of the next event, or `gap`.
pub async fn next(follower: &mut NatsFollower) -> String {
    match step(follower).await {
        Step::Event(event) => {
            let text = std::str::from_utf8(event.bytes()).unwrap();
            text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
        }
        _ => "gap".to_owned(),
    }
}

pub async fn take(follower: &mut NatsFollower, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(next(follower).await);
    }
    taken
}

pub async fn gap(follower: &mut NatsFollower) -> Gap {
    match step(follower).await {
        Step::Gap(gap) => gap,
        other => panic!("no gap but {other:?}"),
    }
}

/// Whether nothing more comes in a while.
pub async fn is_quiet(follower: &mut NatsFollower) -> bool {
    let next = poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx));
    timeout(Duration::from_millis(150), next).await.is_err()
}

/// Publishes numbers from zero on, each until the log has it, and gives how many there were.
pub fn publish(
    log: NatsLog,
    name: &'static str,
    over: Arc<tokio::sync::Notify>,
) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut n = 0;
        let mut ended = std::pin::pin!(over.notified());
        loop {
            append(&log, name, &n.to_string()).await;
            n += 1;
            if futures_util::FutureExt::now_or_never(ended.as_mut()).is_some() {
                return n;
            }
        }
    })
}

/// Much longer than anything takes here, also on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(20);
