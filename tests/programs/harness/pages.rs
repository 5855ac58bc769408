//! The same page for each of the clients that the script is for.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::fmt::Write as _;
use std::path::Path;

use axum::http::Uri;
use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::bidi::{Browser, Page};
use crate::harness::process::eventually;
use crate::harness::site::{Site, script_file};

/// What shows events in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `connect` of the script itself.
    Bare,
    Htmx2,
    Htmx4,
    Alpine,
    /// The browser's own, without the script: what would be.
    Native,
}

pub const KINDS: [Kind; 4] = [Kind::Bare, Kind::Htmx2, Kind::Htmx4, Kind::Alpine];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Htmx2 => "htmx2",
            Self::Htmx4 => "htmx4",
            Self::Alpine => "alpine",
            Self::Native => "native",
        }
    }

    /// The path of its page that opens this stream, with options of the script.
    pub fn path(self, stream: &str, options: &Value) -> String {
        let options = options.to_string();
        let mut query = String::new();
        for byte in options.bytes() {
            write!(query, "%{byte:02x}").expect("texts take all");
        }
        format!("/page/{}?stream={stream}&options={query}", self.name())
    }
}

/// A client with a server of its own, since a browser has six connections for each.
pub struct Visit {
    pub kind: Kind,
    pub site: Site,
    pub page: Page,
}

impl Visit {
    /// Opens a page that opens this stream.
    pub async fn of(browser: &Browser, kind: Kind, stream: &str, options: &Value) -> Self {
        let visit = Self::blank(browser, kind).await;
        visit.page.goto(&visit.site.url(&kind.path(stream, options))).await;
        visit
    }

    /// Opens a server and a page that has nothing yet.
    pub async fn blank(browser: &Browser, kind: Kind) -> Self {
        Self { kind, site: Site::start().await, page: browser.window().await }
    }

    /// The same for each of the clients.
    pub async fn of_all(browser: &Browser, stream: &str, options: &Value) -> Vec<Self> {
        are_installed();
        join_all(KINDS.map(|kind| Self::of(browser, kind, stream, options))).await
    }

    /// Waits until the page says this of its stream.
    pub async fn is(&self, state: &str) {
        let what = format!("{} is {state}", self.kind.name());
        self.page.shows(&what, STATE, |now| now == state).await;
    }

    /// Waits until the page has said this of its stream at some time.
    pub async fn was(&self, state: &str) {
        let what = format!("{} was {state}", self.kind.name());
        let was = format!("states.includes({state:?}) || states.join()");
        self.page.shows(&what, &was, |was| was == "true").await;
    }

    /// Waits until the page has been told that the stream is open, and the server has it.
    pub async fn is_live(&self) {
        self.is("live").await;
        self.site.opens(1).await;
    }

    /// Waits until the page has no stream.
    pub async fn is_away(&self) {
        let what = format!("{} has no stream", self.kind.name());
        eventually(&what, async || (self.site.open() == 0).then_some(())).await;
    }

    /// Waits until all that was published is there: once, in order.
    pub async fn has_all(&self) {
        self.has(&numbers(1..=self.site.published())).await;
    }

    /// Waits until the page shows this.
    pub async fn has(&self, expected: &str) {
        let what = format!("{} shows {expected}", self.kind.name());
        self.page.shows(&what, NUMBERS, |seen| seen == expected).await;
    }

    /// No script complained.
    pub fn is_silent(&self) {
        let said = self.page.said();
        assert!(said.is_empty(), "{}: {said:?}", self.kind.name());
    }

    /// No script complained, but for what is said of each connection that breaks off and of each
    /// request that fails, by htmx itself and by Firefox itself.
    pub fn is_silent_but_for_outages(&self) {
        let of_htmx = match self.kind {
            Kind::Htmx2 => "console error: [object Event]",
            Kind::Htmx4 => "console error: htmx: htmx:sse:error: ",
            _ => "(none)",
        };
        let of_firefox = [
            "javascript error: Firefox can\u{2019}t establish a connection to the server",
            "javascript error: The connection to ",
        ];
        let mut said = self.page.said();
        said.retain(|line| {
            !line.starts_with(of_htmx) && !of_firefox.iter().any(|own| line.starts_with(own))
        });
        assert!(said.is_empty(), "{}: {said:?}", self.kind.name());
    }
}

/// As the pages show them.
pub fn numbers(all: impl IntoIterator<Item = usize>) -> String {
    all.into_iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}

/// Fails by the name of what is missing.
pub fn are_installed() {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/npm/node_modules");
    for script in [HTMX_2, HTMX_2_SSE, HTMX_4, HTMX_4_SSE, ALPINE] {
        let file = modules.join(script);
        assert!(file.exists(), "missing: {}: tests/run installs it", file.display());
    }
    for script in SCRIPTS {
        let file = script_file(script).expect("it is served");
        assert!(file.exists(), "missing: {}: client/build.mjs makes it", file.display());
    }
}

/// The page of a client, as the path and its query say.
pub fn page(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let part = |name: &str| {
        let mut parts = query.split('&').filter_map(|part| part.split_once('='));
        parts.find(|part| part.0 == name).map(|part| part.1).unwrap_or_default()
    };
    let (stream, options) = (part("stream"), decoded(part("options")));
    let body = match uri.path().trim_start_matches("/page/") {
        "bare" => BARE,
        "htmx2" => HTMX_2_PAGE,
        "htmx4" => HTMX_4_PAGE,
        "alpine" => ALPINE_PAGE,
        "native" => NATIVE,
        _ => "",
    };
    let scripts = [HTMX_2, HTMX_2_SSE, HTMX_4, HTMX_4_SSE, ALPINE];
    let names = ["[HTMX_2]", "[HTMX_2_SSE]", "[HTMX_4]", "[HTMX_4_SSE]", "[ALPINE]"];
    let mut page = format!("{HEAD}{body}");
    for (name, script) in names.iter().zip(scripts) {
        page = page.replace(name, &format!("/npm/{script}"));
    }
    page.replace("[STREAM]", stream).replace("[OPTIONS]", &options)
}

fn decoded(text: &str) -> String {
    let hex = text.split('%').skip(1);
    let bytes = hex.map(|hex| u8::from_str_radix(hex, 16).expect("as `path` made it"));
    String::from_utf8(bytes.collect()).expect("it was a text")
}

/// What the page says of its stream now.
pub const STATE: &str =
    "document.querySelector('[data-sse-status]').getAttribute('data-sse-status')";

/// The numbers that it shows, in the order in which it shows them.
pub const NUMBERS: &str = "[...document.getElementById('list').children]
    .flatMap(({ textContent }) => textContent.match(/\\d+/) ?? []).join(' ')";

const SCRIPTS: [&str; 4] = [
    "/tower-sse.js",
    "/tower-sse.extras.js",
    "/tower-sse.classic.js",
    "/tower-sse.extras.classic.js",
];
const HTMX_2: &str = "htmx2/dist/htmx.js";
const HTMX_2_SSE: &str = "htmx-ext-sse/sse.js";
const HTMX_4: &str = "htmx4/dist/htmx.js";
const HTMX_4_SSE: &str = "htmx4/dist/ext/hx-sse.js";
const ALPINE: &str = "alpinejs/dist/cdn.js";

/// It sees what the script says, and whether the page came back from the cache.
const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>page</title>
<link rel="icon" href="data:,">
<meta name="tower-sse" content='[OPTIONS]'>
<script>
    const states = [];
    let restored = false;
    document.addEventListener("sse:status", ({ detail: { state, reason } }) => {
        states.push([state, reason].filter(Boolean).join(" "));
    });
    addEventListener("pageshow", ({ persisted }) => { restored ||= persisted; });
</script>
<output data-sse-status></output>
<ol id="toasts" data-sse-toasts="notification" data-sse-toast-ms="0"></ol>
<ol id="html-toasts" data-sse-toasts="notice" data-sse-toast-ms="0" data-sse-html></ol>
"#;

const BARE: &str = r#"
<ol id="list"></ol>
<script type="module" src="/tower-sse.extras.js"></script>
<script type="module">
    import { connect } from "/tower-sse.js";
    const list = document.getElementById("list");
    window.source = connect("[STREAM]", {
        ...[OPTIONS],
        events: {
            message({ data }) {
                const item = document.createElement("li");
                item.textContent = data;
                list.append(item);
            },
        },
    });
</script>
"#;

const HTMX_2_PAGE: &str = r#"
<script src="[HTMX_2]"></script>
<script src="[HTMX_2_SSE]"></script>
<script src="/tower-sse.classic.js"></script>
<script src="/tower-sse.extras.classic.js"></script>
<div hx-ext="sse" sse-connect="[STREAM]">
    <ol id="list" sse-swap="message" hx-swap="beforeend"></ol>
</div>
"#;

const HTMX_4_PAGE: &str = r#"
<script src="[HTMX_4]"></script>
<script src="[HTMX_4_SSE]"></script>
<script type="module" src="/tower-sse.extras.js"></script>
<ol id="list" hx-sse:connect="[STREAM]" hx-swap="beforeend"></ol>
"#;

const ALPINE_PAGE: &str = r#"
<script src="/tower-sse.classic.js"></script>
<script src="/tower-sse.extras.classic.js"></script>
<script src="[ALPINE]" defer></script>
<div x-data="{ items: [] }"
    x-init='$sse("[STREAM]", { message: ({ data }) => items.push(data) }, [OPTIONS])'>
    <ol id="list"><template x-for="item in items"><li x-text="item"></li></template></ol>
</div>
"#;

const NATIVE: &str = r#"
<ol id="list"></ol>
<script>
    const source = new EventSource("[STREAM]");
    source.onmessage = ({ data }) => {
        const item = document.createElement("li");
        item.textContent = data;
        document.getElementById("list").append(item);
    };
</script>
"#;
