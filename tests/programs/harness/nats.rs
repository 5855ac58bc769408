//! A NATS server with `JetStream` of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use tower_sse::event_log::{NatsLog, NatsLogBuilder};

pub use crate::harness::broker::*;

/// A server with `JetStream`.
#[derive(Debug)]
pub struct Nats(Broker);

impl Nats {
    pub async fn start() -> Self {
        Self::with(command).await
    }

    pub async fn with(command: fn(u16, &Path) -> Command) -> Self {
        let answers = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        Self(Broker::start(Kind { scheme: "nats", command, answers }).await)
    }

    /// A server before 2.10, which Debian has, and a current one. Only the second one has consumers
    /// of several subjects.
    pub async fn start_each_version() -> [Self; 2] {
        let each = [Self::start().await, Self::with(current).await];
        let info = |nats: &Self| async_nats::connect(nats.url());
        let versions = [info(&each[0]).await.unwrap(), info(&each[1]).await.unwrap()];
        let new = versions.map(|client| client.is_server_compatible(2, 10, 0));
        assert_eq!(new, [false, true], "the versions of the servers");
        each
    }

    /// Remembers what it has stored, for [`set_back`](Self::set_back).
    pub async fn save(&mut self) {
        self.kill();
        copy(self.directory(), &self.saved());
        self.restart().await;
    }

    /// Kills it, and has it begin with what it had stored when it was saved.
    pub async fn set_back(&mut self) {
        self.kill();
        copy(&self.saved(), self.directory());
        self.restart().await;
    }

    fn saved(&self) -> PathBuf {
        self.directory().with_extension("saved")
    }

    /// The address with a login such as `user:password@`.
    pub fn url_with(&self, login: &str) -> String {
        self.url().replace("://", &format!("://{login}"))
    }

    pub async fn log(&self) -> NatsLog {
        self.log_with(settings()).await
    }

    pub async fn log_with(&self, settings: NatsLogBuilder) -> NatsLog {
        settings.connect(&self.url()).await.unwrap()
    }

    /// The stream as the server sees it.
    pub async fn stream(&self) -> async_nats::jetstream::stream::Stream {
        let client = async_nats::connect(self.url()).await.unwrap();
        async_nats::jetstream::new(client).get_stream("sse").await.unwrap()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.saved());
    }
}

/// Has one directory be a copy of another.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

impl Deref for Nats {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.0
    }
}

impl DerefMut for Nats {
    fn deref_mut(&mut self) -> &mut Broker {
        &mut self.0
    }
}

fn command(port: u16, directory: &Path) -> Command {
    command_of("nats-server", port, directory)
}

fn current(port: u16, directory: &Path) -> Command {
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/nats-server");
    command_of(server, port, directory)
}

fn command_of(server: impl AsRef<OsStr>, port: u16, directory: &Path) -> Command {
    let mut command = Command::new(server);
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(directory);
    command
}

/// How often tests do what a machine can be lucky with: twice, or as often as `ROUNDS` says.
pub fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

/// The same with a configuration.
pub fn configured(port: u16, directory: &Path, configuration: &str) -> Command {
    let file = directory.join("server.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = command(port, directory);
    command.arg("-c").arg(file);
    command
}

/// The defaults, with less room that the server sets aside: disks of machines with tests are full
/// at times.
pub fn settings() -> NatsLogBuilder {
    NatsLog::builder().bytes(16 * 1024 * 1024)
}
