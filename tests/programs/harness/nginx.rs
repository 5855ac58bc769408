//! A real nginx in front of a server, as Debian has it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::process::eventually;
use crate::harness::site::free_port;

/// It ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    folder: PathBuf,
    _process: Child,
}

impl Nginx {
    /// Passes all requests on to this port.
    pub async fn before(upstream: u16) -> Self {
        let port = free_port();
        let name = format!("nginx-{}-{port}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = CONFIG
            .replace("FOLDER", &folder.display().to_string())
            .replace("UPSTREAM", &upstream.to_string())
            .replace("PORT", &port.to_string());
        std::fs::write(folder.join("nginx.conf"), config).expect("it can be written");
        let spawned = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .args(["-e", "error.log", "-c", "nginx.conf"])
            // Not always in the path of users.
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = spawned.unwrap_or_else(|error| panic!("nginx: {error}; {NEEDED}"));
        eventually("nginx answers", async || TcpStream::connect(("127.0.0.1", port)).await.ok())
            .await;
        Self { port, folder, _process: process }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many requests below this path were answered with this status.
    pub fn answered(&self, path: &str, status: u16) -> usize {
        let log = std::fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        let begin = format!("{status} {path}");
        log.lines().filter(|line| line.starts_with(&begin)).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its files are open still; then they are left to `cargo clean`.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a server has that knows nothing of event streams.
const CONFIG: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events {}
http {
    log_format short '$status $request_uri';
    access_log FOLDER/access.log short;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }
    }
}
";

const NEEDED: &str = "this test needs the Debian package `nginx-light`";
