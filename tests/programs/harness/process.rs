//! Runs the examples as processes of their own, and real clients against them.

use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::harness::LONG;

/// A running example. It is killed when this is dropped.
#[derive(Debug)]
pub struct Example {
    name: &'static str,
    child: Child,
    /// `http://127.0.0.1:<port>`
    address: String,
    /// Kept, since a process that prints to nobody is killed on some systems.
    _stdout: BufReader<ChildStdout>,
}

impl Example {
    /// Starts an example on a free port, and waits until it answers.
    pub async fn start(name: &'static str, env: &[(&str, &str)]) -> Self {
        let binary = binary(name);
        let spawned = Command::new(&binary)
            .env("PORT", "0")
            // On a busy machine clients take their time, and are told all the same.
            .env("DRAIN_DEADLINE_MS", "30000")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            let binary = binary.display();
            panic!("{binary}: {error}; `cargo build --examples` makes it")
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = line_after(&mut stdout, "listening on ").await;
        let example = Self { name, child, address, _stdout: stdout };
        let root = example.url("/");
        eventually("the example answers", async || {
            // The head is enough: behind a proxy this may be a stream without an end.
            let head = ["-o", "/dev/null", "-w", "%{http_code}", "--max-time", "0.5"];
            let answer = curl(&[&head[..], &[&root]].concat()).await;
            (text(&answer) != "000").then_some(())
        })
        .await;
        example
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Sends a signal by its name: TERM, INT or KILL.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it was not waited for").to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(kill.expect("`kill` runs").success(), "{}", self.name);
    }

    /// Waits for the process to end, and tells when it did.
    pub async fn exit(&mut self) -> (ExitStatus, Instant) {
        let exit = timeout(LONG, self.child.wait()).await;
        let status = exit.unwrap_or_else(|_| panic!("{} does not end", self.name));
        (status.expect("it can be waited for"), Instant::now())
    }

    pub async fn get(&self, path: &str) -> String {
        text(&curl(&[&self.url(path)]).await)
    }

    /// Sends a POST request and gives the status of the answer.
    pub async fn post(&self, path: &str) -> String {
        let status = ["-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"];
        text(&curl(&[&status[..], &[&self.url(path)]].concat()).await)
    }
}

/// Reads lines up to one that begins with `start`, and gives the rest of that.
pub async fn line_after(lines: &mut BufReader<ChildStdout>, start: &str) -> String {
    let found = timeout(LONG, async {
        loop {
            let mut line = String::new();
            let len = lines.read_line(&mut line).await.expect("it can be read");
            assert_ne!(len, 0, "the process ended before it said {start:?}");
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                break rest.to_owned();
            }
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("the process does not say {start:?}"))
}

/// Runs curl to its end. It gives up by itself, so that no test waits for ever.
pub async fn curl(args: &[&str]) -> Output {
    let output = command(args).kill_on_drop(true).output().await;
    output.expect("`curl` is installed")
}

/// What a client was sent, read while it arrives.
#[derive(Debug)]
pub struct Transcript {
    child: Child,
    stdout: ChildStdout,
    pub bytes: Vec<u8>,
    /// When the last bytes came, and before that the client's start.
    pub last: Instant,
    /// The longest time between two arrivals, or the start and the first one.
    pub longest_silence: Duration,
}

impl Transcript {
    /// Begins to read a stream with `curl -N`.
    pub fn of(args: &[&str]) -> Self {
        let spawned = command(args).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = spawned.expect("`curl` is installed");
        Self {
            stdout: child.stdout.take().expect("it is piped"),
            child,
            bytes: Vec::new(),
            last: Instant::now(),
            longest_silence: Duration::ZERO,
        }
    }

    /// Reads on until `enough` says so.
    pub async fn until(&mut self, enough: impl Fn(&str) -> bool) -> &mut Self {
        let read = timeout(LONG, async {
            while !enough(&self.text()) {
                assert!(self.read().await, "it ended early: {:?}", self.text());
            }
        });
        let in_time = read.await.is_ok();
        assert!(in_time, "it does not come: {:?}", self.text());
        self
    }

    /// Reads on for some time, or to the end.
    pub async fn during(&mut self, time: Duration) -> &mut Self {
        let _ = timeout(time, async { while self.read().await {} }).await;
        self
    }

    /// Reads to the end, and gives all of it and the client's exit status.
    pub async fn end(mut self) -> (String, ExitStatus) {
        let read = timeout(LONG, async { while self.read().await {} }).await;
        assert!(read.is_ok(), "it does not end: {:?}", self.text());
        let status = self.child.wait().await.expect("it can be waited for");
        (self.text(), status)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("the streams of these tests are text")
    }

    /// Says whether there was anything.
    async fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let len = self.stdout.read(&mut chunk).await.expect("it can be read");
        self.bytes.extend_from_slice(&chunk[..len]);
        if len > 0 {
            let now = Instant::now();
            self.longest_silence = self.longest_silence.max(now - self.last);
            self.last = now;
        }
        len > 0
    }
}

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = timeout(LONG, async {
        loop {
            if let Some(answer) = ask().await {
                break answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = answer.await;
    answer.unwrap_or_else(|_| panic!("it does not come that {what}"))
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the answers of these tests are text")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("curl");
    // `-q`: whatever the settings of whoever runs the tests.
    let fixed = ["-q", "--noproxy", "*", "-sN", "--max-time", "60"];
    command.args(fixed).args(args).stdin(Stdio::null());
    command
}

/// Beside the tests, where cargo builds the examples.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let target = test.ancestors().nth(2).expect("tests are in `deps`");
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    target.join("examples").join(name)
}
