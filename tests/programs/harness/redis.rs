//! A Redis of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tower_sse::event_log::{Follow, RedisLog, RedisLogBuilder};

pub use crate::harness::broker::*;

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

fn command(port: u16, directory: &Path, durable: &str) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", durable, "--appendfsync", "always"])
        .current_dir(directory);
    command
}

fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output();
    let output = output.expect("`redis-cli` is installed");
    String::from_utf8(output.stdout).unwrap()
}

pub async fn log(url: &str) -> RedisLog {
    connect(RedisLog::builder(), url).await
}

pub async fn connect(settings: RedisLogBuilder, url: &str) -> RedisLog {
    settings.append_timeout(Duration::from_secs(2)).connect(url).await.expect("Redis is there")
}

/// Follows, and counts on from `next`: fails if a number is missing or comes twice.
pub async fn count_up<F: Follow + Unpin>(follower: &mut F, next: &mut u32, to: u32) {
    while *next < to {
        assert_eq!(said(follower).await, next.to_string());
        *next += 1;
    }
}
