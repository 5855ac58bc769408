//! A real nginx in front of a server, as Debian has it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use crate::harness::proxy::{Proxy, Running, Setting};

/// It ends when this is dropped.
#[derive(Debug)]
pub struct Nginx(Running);

impl Nginx {
    /// Passes all requests on to this port.
    pub async fn before(upstream: u16) -> Self {
        Self(PROXY.start(Setting::Stock, upstream).await)
    }

    /// Passes what is below `/events` on to any of `nodes`, and the rest to `pages`.
    pub async fn before_nodes(nodes: &[u16], pages: u16) -> Self {
        let servers = nodes.iter().map(|port| format!("server 127.0.0.1:{port} max_fails=0;\n"));
        Self(BALANCER.start_with(Setting::Stock, pages, &servers.collect::<String>()).await)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.0.port)
    }

    /// How many requests below this path were answered with this status.
    pub fn answered(&self, path: &str, status: u16) -> usize {
        let log = std::fs::read_to_string(self.0.folder.join("access.log")).unwrap_or_default();
        let begin = format!("{status} {path}");
        log.lines().filter(|line| line.starts_with(&begin)).count()
    }
}

const PROXY: Proxy = Proxy {
    needs: "the Debian package `nginx-light`",
    command: "nginx",
    args: &["-p", "FOLDER", "-e", "error.log", "-c", "nginx.conf"],
    env: &[],
    files: &[("nginx.conf", CONFIG)],
};

const BALANCER: Proxy = Proxy { files: &[("nginx.conf", BALANCER_CONFIG)], ..PROXY };

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

/// As the manual says it: a server that was away is asked again at once.
const BALANCER_CONFIG: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    upstream nodes {
        MORE
    }
    server {
        listen 127.0.0.1:PORT;
        location /events {
            proxy_pass http://nodes;
        }
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM;
        }
    }
}
";
