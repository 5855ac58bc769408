//! A PostgreSQL of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::io::{BufRead, BufReader, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tower_sse::event_log::{PostgresLog, PostgresLogBuilder};

pub use crate::harness::broker::*;

/// A server, with one database and the user `postgres`.
#[derive(Debug)]
pub struct Server(Broker);

impl Server {
    pub async fn start() -> Self {
        Self::with(command).await
    }

    pub async fn with(command: fn(u16, &Path) -> Command) -> Self {
        let answers = |port| psql(port, "SELECT 1").is_some();
        Self(Broker::start(Kind { scheme: "postgres", command, answers }).await)
    }

    /// An address, also for a [`Way`] to this.
    pub fn address(&self) -> String {
        address(&self.url())
    }

    /// Runs SQL as the superuser, and gives what `psql` prints.
    pub fn sql(&self, sql: &str) -> String {
        let printed = psql(self.port, sql);
        printed.unwrap_or_else(|| panic!("`psql` fails: {sql}")).trim().to_owned()
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

    /// Begins a transaction and runs SQL in it, which has been done when this returns.
    pub fn begin(&self, sql: &str) -> Transaction {
        let mut command = Command::new("psql");
        command.args(["-XqAt", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut transaction = Transaction(command.spawn().expect("`psql` is installed"));
        transaction.write(&format!("BEGIN; {sql};\n\\echo begun\n"));
        let stdout = transaction.0.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "begun"), "it runs: {sql}");
        transaction
    }

    fn saved(&self) -> PathBuf {
        self.directory().with_extension("saved")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is killed would leave a segment of shared memory to the machine.
        let pid = std::fs::read_to_string(self.directory().join("data/postmaster.pid"));
        if let Some(pid) = pid.ok().as_deref().and_then(|it| it.lines().next()) {
            let _ = Command::new("kill").args(["-s", "QUIT", pid]).stderr(Stdio::null()).status();
            self.0.wait();
        }
        let _ = std::fs::remove_dir_all(self.saved());
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

/// A transaction that is not committed yet.
#[derive(Debug)]
pub struct Transaction(Child);

impl Transaction {
    pub fn commit(mut self) {
        self.write("COMMIT;\n");
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    fn write(&mut self, text: &str) {
        self.0.stdin.as_mut().expect("it is piped").write_all(text.as_bytes()).unwrap();
    }
}

/// The address of a log behind the URL of a server or of a way to it.
pub fn address(url: &str) -> String {
    format!("{}/postgres", url.replace("://", "://postgres@"))
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    // With the owner, who is not the user that tests may run as.
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

/// Makes a cluster when there is none, and runs its server in the foreground.
fn command(port: u16, directory: &Path) -> Command {
    with_settings(port, directory, "")
}

/// The same with settings such as `-c fsync=off`.
pub fn with_settings(port: u16, directory: &Path, settings: &str) -> Command {
    let data = directory.join("data");
    let script = format!(
        "set -e
        [ -e {data}/PG_VERSION ] ||
            {initdb} -D {data} -U postgres -A trust -N -E UTF8 --no-locale >/dev/null
        # Those that served a server that was killed end by themselves, and hold what it held.
        while ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -q ' {data}$'; do sleep 0.05; done
        exec {postgres} -D {data} -p {port} -c listen_addresses=127.0.0.1 \
            -c unix_socket_directories= -c max_connections=60 {settings}",
        data = data.display(),
        initdb = program("initdb").display(),
        postgres = program("postgres").display(),
    );
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    if !is_root {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(directory);
        return command;
    }
    // The server refuses to run as root.
    let _ = Command::new("chown").arg("postgres").arg(directory).status();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c", &script]);
    command.current_dir(directory);
    command
}

/// A program of the server. Debian has those of each version in a directory of its own.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name));
    found.filter(|it| it.exists()).max().unwrap_or_else(|| name.into())
}

/// What `psql` prints; `None` if it fails.
fn psql(port: u16, sql: &str) -> Option<String> {
    let output = Command::new("psql")
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
        .args(["-p", &port.to_string(), "-c", sql])
        .output();
    let output = output.expect("`psql` is installed");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

pub async fn log(address: &str) -> PostgresLog {
    connect(PostgresLog::builder(), address).await
}

pub async fn connect(settings: PostgresLogBuilder, address: &str) -> PostgresLog {
    let settings = settings.append_timeout(Duration::from_secs(2));
    settings.connect(address).await.expect("PostgreSQL is there")
}
