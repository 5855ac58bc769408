//! A NATS server with `JetStream` of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::net::{Ipv4Addr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
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

    /// The address with a login such as `user:password@`.
    pub fn url_with(&self, login: &str) -> String {
        self.url().replace("://", &format!("://{login}"))
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
    let mut command = Command::new("nats-server");
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(directory);
    command
}

/// The same with a configuration.
pub fn configured(port: u16, directory: &Path, configuration: &str) -> Command {
    let file = directory.join("server.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = command(port, directory);
    command.arg("-c").arg(file);
    command
}

/// The defaults, with less room that the server sets aside: disks of machines with tests are full at
/// times.
pub fn settings() -> NatsLogBuilder {
    NatsLog::builder().bytes(16 * 1024 * 1024)
}
