//! A PostgreSQL of a test's own, and logs in it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, PostgresLog, PostgresLogBuilder};

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

    /// How many rows of events it has read so far, when all logs are dropped.
    pub async fn rows_read(&self) -> u32 {
        // A session counts what it did when it ends.
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-sse'";
        let ended = async {
            while self.sql(sessions) != "0" {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, ended).await.expect("the sessions end");
        let counts = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
            WHERE relname = 'tower_sse_events'";
        self.sql(counts).parse().unwrap()
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

    /// A copy that streams from this one from now on.
    pub async fn replica(&self) -> Self {
        let mut replica = Self::start().await;
        replica.end_by("QUIT");
        let data = replica.directory().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        let script = format!(
            "exec {} -D {} -h 127.0.0.1 -p {} -U postgres -c fast -R",
            program("pg_basebackup").display(),
            data.display(),
            self.port
        );
        assert!(as_postgres(replica.directory(), &script).status().unwrap().success());
        replica.restart().await;
        self.until("SELECT state = 'streaming' FROM pg_stat_replication").await;
        replica
    }

    /// Has each commit wait until a replica has it.
    pub async fn wait_for_replica(&self, synchronous_commit: &str) {
        self.sql(&format!("ALTER SYSTEM SET synchronous_commit = {synchronous_commit}"));
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        self.until("SELECT sync_state = 'sync' FROM pg_stat_replication").await;
    }

    /// Has a replica get nothing more.
    pub async fn cut_off(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''");
        self.sql("SELECT pg_reload_conf()");
        self.until("SELECT count(*) = 0 FROM pg_stat_wal_receiver").await;
    }

    /// Has a replica take events from now on.
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
    }

    /// Waits until SQL says that something is so.
    async fn until(&self, sql: &str) {
        let is_so = async {
            while self.sql(sql) != "t" {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, is_so).await.unwrap_or_else(|_| panic!("it is never so: {sql}"));
    }

    /// Has it end itself, by `INT` with all that its replicas lack, and by `QUIT` without.
    pub fn end_by(&mut self, signal: &str) {
        if let Some(pid) = self.postmaster(1) {
            let kill =
                Command::new("kill").args(["-s", signal, &pid]).stderr(Stdio::null()).status();
            assert!(kill.is_ok());
            self.0.wait();
        }
    }

    /// Kills all of its processes at the same moment, as when a machine crashes. If the first one
    /// alone is killed, the others may show for a moment what no replica has.
    pub fn crash(&mut self) {
        self.signal_all("STOP");
        self.signal_all("KILL");
        self.0.wait();
    }

    /// Sends all of its processes a signal such as `STOP`.
    pub fn signal_all(&self, signal: &str) {
        let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|it| it.path());
        let data = self.directory().join("data");
        let own = processes.filter(|it| it.join("cwd").read_link().is_ok_and(|cwd| cwd == data));
        let pids = own.map(|process| process.file_name().unwrap().to_owned());
        let mut kill = Command::new("kill");
        // Of those that ended by themselves meanwhile it says so.
        let _ = kill.args(["-s", signal]).args(pids).stderr(Stdio::null()).status();
    }

    /// A line of what the first process notes of itself.
    fn postmaster(&self, line: usize) -> Option<String> {
        let noted = std::fs::read_to_string(self.directory().join("data/postmaster.pid")).ok()?;
        noted.lines().nth(line - 1).map(str::to_owned)
    }

    fn saved(&self) -> PathBuf {
        self.directory().with_extension("saved")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal_all("CONT");
        self.end_by("QUIT");
        // One that was killed left a segment of shared memory to the machine.
        if let Some(segment) = self.postmaster(7) {
            let id = segment.split_whitespace().nth(1).unwrap_or_default();
            let _ = Command::new("ipcrm").args(["-m", id]).stderr(Stdio::null()).status();
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

/// The address of whichever of these servers takes events.
pub fn hosts(servers: [&Server; 2]) -> String {
    let [a, b] = servers.map(|server| server.port);
    format!(
        "host=127.0.0.1,127.0.0.1 port={a},{b} user=postgres dbname=postgres \
         target_session_attrs=read-write"
    )
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
    as_postgres(directory, &script)
}

/// Runs a script in a directory. The server refuses to run as root.
fn as_postgres(directory: &Path, script: &str) -> Command {
    if !is_root() {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(directory);
        return command;
    }
    let _ = Command::new("chown").arg("postgres").arg(directory).status();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c", script]);
    command.current_dir(directory);
    command
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
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

/// Appends as soon as the server is back.
pub async fn append_soon(log: &PostgresLog, name: &str, text: &str) -> EventId {
    let began = Instant::now();
    loop {
        match log.append(&topic(name), data(text)).await {
            Ok(id) => return id,
            Err(error) => assert!(began.elapsed() < LONG, "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The numbers that a server has as events of the topic `t`.
pub fn numbers(server: &Server) -> BTreeSet<usize> {
    let events = server.sql(
        "SELECT trim(substr(convert_from(event, 'UTF8'), 7), E' \\n') FROM tower_sse_events
        WHERE topic = 't'",
    );
    events.lines().filter_map(|number| number.parse().ok()).collect()
}

pub async fn log(address: &str) -> PostgresLog {
    connect(PostgresLog::builder(), address).await
}

pub async fn connect(settings: PostgresLogBuilder, address: &str) -> PostgresLog {
    let settings = settings.append_timeout(Duration::from_secs(2));
    settings.connect(address).await.expect("PostgreSQL is there")
}
