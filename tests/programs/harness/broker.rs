//! Brokers that tests start themselves, ways to them that can be closed, and what reads logs there.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, Follow, Gap, Start, Step};

pub use crate::harness::LONG;
use crate::harness::ports::free_port;
pub use crate::harness::topics::{data, data_of, topic, topics};

/// A broker as a process, with a directory of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    pub port: u16,
    directory: PathBuf,
    child: Child,
}

/// What tells one broker from another.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub scheme: &'static str,
    /// Runs it on a port and in a directory.
    pub command: fn(u16, &Path) -> Command,
    /// Whether it does what it is asked for by now.
    pub answers: fn(u16) -> bool,
}

impl Broker {
    pub async fn start(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-sse-{}-{}-{count}", kind.scheme, std::process::id());
        // What a killed process wrote is kept in memory, too, and a slow disk proves nothing.
        let memory = Some(PathBuf::from("/dev/shm")).filter(|it| it.is_dir());
        let directory = memory.unwrap_or_else(std::env::temp_dir).join(name);
        let port = free_port();
        let child = spawn(kind, port, &directory);
        let broker = Self { kind, port, directory, child };
        broker.answers().await;
        broker
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.kind.scheme, self.port)
    }

    /// What it stores is here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// By SIGKILL: it has no time for anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for it to end by itself, but not for long.
    pub fn wait(&mut self) {
        for _ in 0..500 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it anew with what it had stored, on the same port.
    pub async fn restart(&mut self) {
        self.child = spawn(self.kind, self.port, &self.directory);
        self.answers().await;
    }

    /// Has it forget all that was stored. It must have been killed.
    pub fn forget(&self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    /// What it has stored by now.
    pub fn copy(&self) -> PathBuf {
        let copy = self.directory.with_extension("copy");
        copy_all(&self.directory, &copy);
        copy
    }

    /// Has it forget what it stored after a copy was made. It must have been killed.
    pub fn set_back(&self, copy: &Path) {
        self.forget();
        std::fs::rename(copy, &self.directory).unwrap();
    }

    async fn answers(&self) {
        let answers = async {
            while !(self.kind.answers)(self.port) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, answers).await.expect("the broker starts");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(kind: Kind, port: u16, directory: &Path) -> Child {
    std::fs::create_dir_all(directory).unwrap();
    let mut command = (kind.command)(port, directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = command.spawn();
    spawned.unwrap_or_else(|error| panic!("{:?} is not installed: {error}", command.get_program()))
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match from.is_dir() {
            true => copy_all(&from, &to),
            false => drop(std::fs::copy(from, to).unwrap()),
        }
    }
}

/// A way to a broker that can be closed: its connections end, and its port refuses.
#[derive(Debug)]
pub struct Way {
    kind: Kind,
    own: SocketAddr,
    to: SocketAddr,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    answers: watch::Sender<bool>,
    /// Where connections are led that are made from now on.
    to: Arc<Mutex<SocketAddr>>,
    /// How many bytes the broker answered.
    bytes: Arc<AtomicU64>,
    /// How many bytes of an answer pass in a second. Zero for all.
    rate: Arc<AtomicU64>,
}

impl Way {
    pub async fn to(broker: &Broker) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap();
        let to = (Ipv4Addr::LOCALHOST, broker.port).into();
        Self { kind: broker.kind, own, to, open: Some(Open::with(listener, to)) }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.kind.scheme, self.own)
    }

    pub async fn close(&mut self) {
        let open = self.open.take().expect("it is open");
        open.task.abort();
        let _ = open.task.await;
        let refused = TcpStream::connect(self.own).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }

    pub async fn open(&mut self) {
        let listener = TcpListener::bind(self.own).await.unwrap();
        self.open = Some(Open::with(listener, self.to));
    }

    /// From now on the broker gets what it is sent, and its answers are lost, until this is closed.
    pub fn lose_answers(&self) {
        self.open_way().answers.send_replace(false);
    }

    /// Connections that are made from now on lead to another broker; those that are there stay.
    pub fn lead_to(&mut self, broker: &Broker) {
        self.to = (Ipv4Addr::LOCALHOST, broker.port).into();
        if let Some(open) = &self.open {
            *open.to.lock().unwrap() = self.to;
        }
    }

    /// How many bytes the broker has answered since this was opened.
    pub fn bytes(&self) -> u64 {
        self.open_way().bytes.load(Ordering::SeqCst)
    }

    /// From now on so many bytes of answers pass in a second, on each connection.
    pub fn slow_down_to(&self, bytes: u64) {
        self.open_way().rate.store(bytes, Ordering::SeqCst);
    }

    fn open_way(&self) -> &Open {
        self.open.as_ref().expect("it is open")
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.task.abort();
        }
    }
}

impl Open {
    fn with(listener: TcpListener, to: SocketAddr) -> Self {
        let (answers, are_sent) = watch::channel(true);
        let (to, bytes, rate) = (Arc::new(Mutex::new(to)), Arc::default(), Arc::default());
        let counts = (Arc::clone(&bytes), Arc::clone(&rate));
        let task = tokio::spawn(carry(listener, Arc::clone(&to), are_sent, counts));
        Self { task, answers, to, bytes, rate }
    }
}

async fn carry(
    listener: TcpListener,
    to: Arc<Mutex<SocketAddr>>,
    answers: watch::Receiver<bool>,
    (bytes, rate): (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    // Ends all of them when it is dropped.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (answers, bytes, rate) = (answers.clone(), Arc::clone(&bytes), Arc::clone(&rate));
        let to = *to.lock().unwrap();
        connections.spawn(async move {
            let far = TcpStream::connect(to).await?;
            let ((mut asked, mut answer), (mut broker, mut asks)) =
                (near.into_split(), far.into_split());
            let back = async {
                let mut chunk = vec![0; 1 << 14];
                loop {
                    let len = broker.read(&mut chunk).await?;
                    if len == 0 {
                        return std::io::Result::Ok(0);
                    }
                    bytes.fetch_add(len as u64, Ordering::SeqCst);
                    let rate = rate.load(Ordering::SeqCst);
                    if let Some(millis) = (1_000 * len as u64).checked_div(rate) {
                        sleep(Duration::from_millis(millis)).await;
                    }
                    if *answers.borrow() {
                        answer.write_all(&chunk[..len]).await?;
                    }
                }
            };
            // One that has ended ends the other, as both sides see.
            tokio::select! {
                ended = copy(&mut asked, &mut asks) => ended,
                ended = back => ended,
            }
        });
    }
}

pub fn after(id: &EventId) -> Start {
    Start::After(id.clone())
}

pub async fn append<L: EventLog>(log: &L, name: &str, text: &str) -> EventId {
    log.append(&topic(name), data(text)).await.expect("the broker is there")
}

/// Appends numbers, one after the other.
pub async fn append_all<L: EventLog>(log: &L, name: &str, numbers: Range<u32>) {
    for n in numbers {
        append(log, name, &n.to_string()).await;
    }
}

pub fn follow<L: EventLog>(log: &L, names: &[&str], from: Start) -> L::Follower {
    log.follow(topics(names), from)
}

/// Publishes numbers from zero on, each when the log has the one before, and gives how many there
/// were.
pub fn publish<L: EventLog>(log: L, name: &'static str, over: Arc<Notify>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut n = 0;
        let mut ended = std::pin::pin!(over.notified());
        loop {
            append(&log, name, &n.to_string()).await;
            n += 1;
            if ended.as_mut().now_or_never().is_some() {
                return n;
            }
        }
    })
}

/// The next event or gap.
pub async fn step<F: Follow + Unpin>(follower: &mut F) -> Step {
    let step = timeout(LONG, poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx))).await;
    step.expect("something comes").expect("the log does not end")
}

/// The data of the next event, or `gap`.
pub async fn said<F: Follow + Unpin>(follower: &mut F) -> String {
    match step(follower).await {
        Step::Event(event) => data_of(event.bytes()),
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

pub async fn gap<F: Follow + Unpin>(follower: &mut F) -> Gap {
    match step(follower).await {
        Step::Gap(gap) => gap,
        other => panic!("no gap but {other:?}"),
    }
}

/// Whether nothing more comes in a while.
pub async fn is_quiet<F: Follow + Unpin>(follower: &mut F) -> bool {
    let next = poll_fn(|cx| Pin::new(&mut *follower).poll_next(cx));
    timeout(Duration::from_millis(200), next).await.is_err()
}

/// That nothing more comes in a while.
pub async fn nothing<F: Follow + Unpin>(follower: &mut F) {
    assert!(is_quiet(follower).await, "something comes");
}
