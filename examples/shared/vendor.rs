//! htmx and Alpine, which are not part of this repository.
//!
//! Pages load them from a public CDN, which the browser checks by their hashes. With
//! `VENDOR=<folder>`, a `node_modules`, they come from there, and nothing is asked of anybody else:
//!
//! ```text
//! npm install --prefix /tmp/vendor htmx2@npm:htmx.org@2.0.11 htmx4@npm:htmx.org@4.0.1 \
//!     htmx-ext-sse@2.2.4 alpinejs@3.17.5
//! VENDOR=/tmp/vendor/node_modules cargo run --example ..
//! ```

use std::env;
use std::path::Path;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// A file of a package of npm.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// What the folder of its package is called in `VENDOR`.
    folder: &'static str,
    package: &'static str,
    file: &'static str,
    integrity: &'static str,
    /// Alpine wants to be deferred. htmx 4 misses its extensions where it is: it begins as soon as
    /// the page is read, and that is so already when deferred scripts run.
    deferred: bool,
}

pub const HTMX_2: Library = Library {
    folder: "htmx2",
    package: "htmx.org@2.0.11",
    file: "dist/htmx.min.js",
    integrity: "sha384-2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg",
    deferred: false,
};

pub const HTMX_2_SSE: Library = Library {
    folder: "htmx-ext-sse",
    package: "htmx-ext-sse@2.2.4",
    file: "dist/sse.min.js",
    integrity: "sha384-A986SAtodyH8eg8x8irJnYUk7i9inVQqYigD6qZ9evobksGNIXfeFvDwLSHcp31N",
    deferred: false,
};

pub const HTMX_4: Library = Library {
    folder: "htmx4",
    package: "htmx.org@4.0.1",
    file: "dist/htmx.min.js",
    integrity: "sha384-Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn",
    deferred: false,
};

pub const HTMX_4_SSE: Library = Library {
    folder: "htmx4",
    package: "htmx.org@4.0.1",
    file: "dist/ext/hx-sse.min.js",
    integrity: "sha384-v8HvucQ+ohQhMg0arboXc5049yNR46QKMjphs7YDch+Wm7zpfK5XVS01f26mQDJV",
    deferred: false,
};

pub const ALPINE: Library = Library {
    folder: "alpinejs",
    package: "alpinejs@3.17.5",
    file: "dist/cdn.min.js",
    integrity: "sha384-FYLKjwG3aohNhNZoVG8sY/5ntunm+MqylL90Q+rT3OM7AwV9/BKFjk/RjoIpIgsI",
    deferred: true,
};

/// The page may not have a body yet.
const ON_ERROR: &str = " onerror=\"window.addEventListener('load', () => \
    document.querySelector('main').insertAdjacentHTML('afterbegin', \
    `<p role=alert>${this.src} was not loaded. Without a network, set VENDOR: see \
    examples/shared/vendor.rs.</p>`))\"";

/// The elements that load these files, in this order. A page says which of them it did not get.
pub fn scripts(libraries: &[Library]) -> String {
    let local = env::var_os("VENDOR").is_some();
    let script = |library: &Library| {
        let Library { folder, package, file, integrity, deferred } = library;
        let defer = if *deferred { " defer" } else { "" };
        match local {
            true => format!("<script{defer} src=\"/vendor/{folder}/{file}\"{ON_ERROR}></script>\n"),
            false => format!(
                "<script{defer} src=\"https://cdn.jsdelivr.net/npm/{package}/{file}\" \
                 integrity=\"{integrity}\" crossorigin=\"anonymous\"{ON_ERROR}></script>\n"
            ),
        }
    };
    libraries.iter().map(script).collect()
}

/// These files, and no others of the folder.
pub(super) fn router() -> Router {
    let Some(vendor) = env::var_os("VENDOR") else {
        return Router::new();
    };
    let all = [HTMX_2, HTMX_2_SSE, HTMX_4, HTMX_4_SSE, ALPINE];
    all.iter().fold(Router::new(), |router, Library { folder, file, .. }| {
        let path = Path::new(&vendor).join(folder).join(file);
        let answer = async move || match tokio::fs::read(&path).await {
            Ok(source) => Ok(([(CONTENT_TYPE, "text/javascript")], source)),
            Err(error) => Err((StatusCode::NOT_FOUND, format!("{}: {error}", path.display()))),
        };
        router.route(&format!("/vendor/{folder}/{file}"), get(answer))
    })
}
