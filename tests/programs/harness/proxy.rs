//! Proxies as processes, before a server of the test.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::ports::free_port;
use crate::harness::process::eventually;

/// How a proxy is started. In arguments, variables and files `PORT`, `SECOND` and `UPSTREAM` stand
/// for ports, `FOLDER` for a folder of its own, and `TOOLS` for that of what `tests/run` installs.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// What has to be installed for it.
    pub needs: &'static str,
    pub command: &'static str,
    pub args: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    /// The names of its files, and what is in them.
    pub files: &'static [(&'static str, &'static str)],
}

/// Which lines of the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// All but those that begin with `#production `. Limits are short, by lines with `#short `.
    Stock,
    /// All. Limits are short.
    Production,
    /// As stock, but with the limits that the proxy has of its own.
    OwnLimits,
}

/// A proxy that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub port: u16,
    pub second: u16,
    pub folder: PathBuf,
    _process: Child,
}

impl Proxy {
    /// Starts it before the server at this port.
    pub async fn start(&self, setting: Setting, upstream: u16) -> Running {
        self.start_with(setting, upstream, "").await
    }

    /// Starts it with this text for `MORE` in its files.
    pub async fn start_with(&self, setting: Setting, upstream: u16, more: &str) -> Running {
        let (port, second) = (free_port(), free_port());
        let name = format!("proxy-{}-{port}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(folder.join("cache")).expect("a folder");
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
        let fill = |text: &str| {
            let text = match setting {
                Setting::Stock => text.replace("#short ", ""),
                Setting::Production => text.replace("#short ", "").replace("#production ", ""),
                Setting::OwnLimits => text.to_owned(),
            };
            text.replace("MORE", more)
                .replace("FOLDER", &folder.display().to_string())
                .replace("TOOLS", &tools.display().to_string())
                .replace("UPSTREAM", &upstream.to_string())
                .replace("SECOND", &second.to_string())
                .replace("PORT", &port.to_string())
        };
        for (name, text) in self.files {
            std::fs::write(folder.join(name), fill(text)).expect("it can be written");
        }
        let log = std::fs::File::create(folder.join("output.log")).expect("it can be written");
        let is_short = |arg: &str| arg.contains("-timeout=");
        let args = self.args.iter();
        let args = args.filter(|arg| setting != Setting::OwnLimits || !is_short(arg));
        let spawned = Command::new(fill(self.command))
            .args(args.map(|arg| fill(arg)))
            .envs(self.env.iter().map(|(name, value)| (name, fill(value))))
            // Not always in the path of users.
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let mut process = spawned.unwrap_or_else(|error| {
            panic!("{}: {error}; this test needs {}", self.command, self.needs)
        });
        let its_output = format!("its output: {}", folder.display());
        eventually(&format!("{} answers; {its_output}", self.command), async || {
            let ended = process.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "{}: {ended:?}; {its_output}", self.command);
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Running { port, second, folder, _process: process }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Its files are open still; then they are left to `cargo clean`.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
