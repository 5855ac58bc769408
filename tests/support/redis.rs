//! A Redis of a test's own, and a way to it that can be closed.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_sse::RedisLog;
use tower_sse::log::{EventLog, Follow, RedisLogBuilder, Start, Step, Topic, Topics};
use tower_sse::wire::{Event, EventId};

/// A Redis. It is killed when this is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    directory: PathBuf,
    durable: bool,
}

impl Server {
    /// One that is to live as long as this.
    pub async fn start() -> Self {
        Self::with(false).await
    }

    /// One that forgets nothing that it acknowledged, also if it is killed.
    pub async fn durable() -> Self {
        Self::with(true).await
    }

    async fn with(durable: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-sse-redis-{}-{count}", std::process::id());
        // What a killed process wrote is kept in memory, too, and a slow disk proves nothing.
        let memory = Some(PathBuf::from("/dev/shm")).filter(|it| it.is_dir());
        let directory = memory.unwrap_or_else(std::env::temp_dir).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let server = Self { child: spawn(port, &directory, durable), port, directory, durable };
        server.answers().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// By SIGKILL: it has no time for anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it anew with what it had written, on the same port.
    pub async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, self.durable);
        self.answers().await;
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(args).output();
        let output = output.expect("`redis-cli` is installed");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn answers(&self) {
        let answers = async {
            while self.cli(&["PING"]).trim() != "PONG" {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, answers).await.expect("Redis starts");
    }
}

fn spawn(port: u16, directory: &Path, durable: bool) -> Child {
    let durable = if durable { "yes" } else { "no" };
    let server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", durable, "--appendfsync", "always"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    server.expect("`redis-server` is installed")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A way to a server that can be closed: then its port refuses.
pub struct Way {
    pub port: u16,
    to: u16,
    open: Option<watch::Sender<()>>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut way = Self { port: free.local_addr().unwrap().port(), to: port, open: None };
        way.serve(free);
        way
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends all connections, and takes no more.
    pub async fn close(&mut self) {
        self.open = None;
        let refused = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, refused).await.expect("the port is closed");
    }

    pub async fn open(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (open, closed) = watch::channel(());
        self.open = Some(open);
        let to = self.to;
        tokio::spawn(async move {
            let mut over = closed.clone();
            loop {
                let mut stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = over.changed() => return,
                };
                let mut over = closed.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
                    tokio::select! {
                        copied = copy_bidirectional(&mut stream, &mut server) => copied.map(drop),
                        _ = over.changed() => Ok(()),
                    }
                });
            }
        });
    }
}

pub async fn log(url: &str) -> RedisLog {
    connect(RedisLog::builder(), url).await
}

pub async fn connect(settings: RedisLogBuilder, url: &str) -> RedisLog {
    settings.append_timeout(Duration::from_secs(2)).connect(url).await.expect("Redis is there")
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub fn topics(names: &[&str]) -> Topics {
    Topics::new(names).unwrap()
}

pub async fn append(log: &RedisLog, name: &str, text: &str) -> EventId {
    log.append(&topic(name), Event::new().data(text)).await.expect("Redis is there")
}

/// Events `from` to `to`, many at a time but in order.
pub async fn append_all(log: &RedisLog, name: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        append(log, name, &n.to_string()).await;
    }
}

/// The next event or gap.
pub async fn next<F: Follow + Unpin>(follower: &mut F) -> Step {
    let step = poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx));
    let step = timeout(LONG, step).await.expect("something comes");
    step.expect("the log does not end")
}

/// The data of the next event, or `gap`.
pub async fn said<F: Follow + Unpin>(follower: &mut F) -> String {
    match next(follower).await {
        Step::Event(event) => data(event.bytes()),
        _ => "gap".to_owned(),
    }
}

/// The next so many.
pub async fn all<F: Follow + Unpin>(follower: &mut F, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(said(follower).await);
    }
    all
}

/// That nothing comes for a time.
pub async fn nothing<F: Follow + Unpin>(follower: &mut F) {
    let step = poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx));
    let step = timeout(Duration::from_millis(200), step).await;
    assert!(step.is_err(), "{step:?}");
}

pub fn data(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
}

pub fn follow(log: &RedisLog, names: &[&str], from: Start) -> <RedisLog as EventLog>::Follower {
    log.follow(topics(names), from)
}

/// Follows, and counts on from `next`: fails if a number is missing or comes twice.
pub async fn count_up<F: Follow + Unpin>(follower: &mut F, next: &mut u32, to: u32) {
    while *next < to {
        assert_eq!(said(follower).await, next.to_string());
        *next += 1;
    }
}

/// Much longer than anything takes here, also on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(20);
