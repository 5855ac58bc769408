//! A Redis of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;
use tower_sse::event_log::{BrokerError, Follow, RedisLog, RedisLogBuilder};

pub use crate::harness::broker::*;
use crate::harness::ports::free_port;

/// A Redis.
#[derive(Debug)]
pub struct Server(Broker);

impl Server {
    /// One that is to live as long as this.
    pub async fn start() -> Self {
        Self::with(|port, directory| command(port, directory, "no")).await
    }

    /// One that forgets nothing that it acknowledged, also if it is killed.
    pub async fn durable() -> Self {
        Self::with(|port, directory| command(port, directory, "yes")).await
    }

    /// One that may become a member of a cluster.
    pub async fn for_cluster() -> Self {
        Self::with(|port, directory| {
            let mut command = command(port, directory, "no");
            // By default it is the port and 10,000, which may be no port.
            command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
            command
        })
        .await
    }

    async fn with(command: fn(u16, &Path) -> Command) -> Self {
        let answers = |port| cli(port, &["PING"]).trim() == "PONG";
        Self(Broker::start(Kind { scheme: "redis", command, answers }).await)
    }

    /// Waits until a topic has so many events here.
    pub async fn has(&self, name: &str, events: usize) {
        let key = format!("{{tower-sse}}:topic:{name}");
        while self.cli(&["XLEN", &key]).trim() != events.to_string() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it until the answer is dropped: its connections stay, and nothing answers.
    pub fn stop(&self) -> Stopped {
        let info = self.cli(&["INFO", "server"]);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        let stopped = Stopped { pid: pid.unwrap().trim().to_owned() };
        stopped.signal("-STOP");
        stopped
    }

    /// What `redis-cli` prints of commands over one connection.
    pub fn cli_lines(&self, commands: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cli = cli.spawn().expect("`redis-cli` is installed");
        cli.stdin.take().unwrap().write_all(commands.join("\n").as_bytes()).unwrap();
        String::from_utf8(cli.wait_with_output().unwrap().stdout).unwrap()
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }
}

impl Deref for Server {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Broker {
        &mut self.0
    }
}

/// A server that is stopped. It goes on when this is dropped.
#[derive(Debug)]
pub struct Stopped {
    pid: String,
}

impl Stopped {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid]).status().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

fn command(port: u16, directory: &Path, durable: &str) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", durable, "--appendfsync", "always"])
        .current_dir(directory);
    command
}

/// What `redis-cli` prints.
pub fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output();
    let output = output.expect("`redis-cli` is installed");
    String::from_utf8(output.stdout).unwrap()
}

pub async fn log(url: &str) -> RedisLog {
    connect(RedisLog::builder(), url).await
}

pub async fn connect(settings: RedisLogBuilder, url: &str) -> RedisLog {
    let settings = settings.append_timeout(Duration::from_secs(2));
    let connected = async {
        loop {
            match settings.clone().connect(url).await {
                // Of a machine that is busy with other tests.
                Err(BrokerError::TimedOut) => {}
                connected => return connected.expect("Redis is there"),
            }
        }
    };
    timeout(LONG, connected).await.expect("Redis answers in time")
}

/// Follows, and counts on from `next`: fails if a number is missing or comes twice.
pub async fn count_up<F: Follow + Unpin>(follower: &mut F, next: &mut u32, to: u32) {
    while *next < to {
        assert_eq!(said(follower).await, next.to_string());
        *next += 1;
    }
}
