//! The pages of clients that run in browsers. Each pushes what it sees to `seen`, and its `over`
//! says whether it has stopped for good.

use std::fs;

use axum::Router;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::clients::list::{CLIENTS, Runs};
use crate::harness::site::script_file;

/// Pages below `/page`, by a client's place in the list, and what their scripts are.
pub(super) fn routes() -> Router {
    let pages = Router::new().route("/page", get(page)).route("/npm/{*script}", get(script));
    let own = ["/tower-sse.js", "/tower-sse.classic.js", "/tower-sse.extras.classic.js"];
    own.into_iter().fold(pages, |pages, path| pages.route(path, get(script)))
}

/// Where the page of a client is that reads this stream.
pub(super) fn path(client: &str, stream: &str) -> String {
    let at = CLIENTS.iter().position(|other| other.name == client).expect("it is listed");
    format!("/page?client={at}&stream={stream}")
}

#[derive(Deserialize)]
struct Wanted {
    client: usize,
    stream: String,
}

async fn page(Query(Wanted { client, stream }): Query<Wanted>) -> Html<String> {
    let elements = match CLIENTS[client].runs {
        Runs::Page(elements) => elements,
        _ => "",
    };
    Html(format!("{HEAD}{elements}").replace("[STREAM]", &stream))
}

async fn script(uri: Uri) -> Response {
    let source = script_file(uri.path()).and_then(|file| fs::read(file).ok());
    match source {
        Some(source) => ([(CONTENT_TYPE, "text/javascript")], source).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>page</title>
<link rel="icon" href="data:,">
<script>
    window.seen = [];
    window.over = () => false;
    window.see = ({ type, data, lastEventId }) => { seen.push([type, data, lastEventId]); };
    /** Sees what is put into an element, as text. */
    window.watch = (element) => {
        const added = (records) => records.flatMap(({ addedNodes }) => [...addedNodes]);
        const see = (records) => {
            for (const { textContent } of added(records)) seen.push([null, textContent, null]);
        };
        new MutationObserver(see).observe(element, { childList: true });
    };
    /** It is over when this event comes. */
    window.overAt = (event) => {
        document.addEventListener(event, () => { window.over = () => true; });
    };
</script>
"#;

pub(super) const EVENT_SOURCE: &str = r#"
<script>
    const source = new EventSource("[STREAM]");
    for (const name of ["message", "tick", "close"]) source.addEventListener(name, see);
    source.addEventListener("close", () => source.close());
    over = () => source.readyState === EventSource.CLOSED;
</script>
"#;

pub(super) const CONNECT: &str = r#"
<script type="module">
    import { connect } from "/tower-sse.js";
    const source = connect("[STREAM]", { events: { message: see, tick: see } });
    window.over = () => source.state === "closed";
</script>
"#;

pub(super) const HTMX_2: &str = r#"
<script src="/npm/htmx2/dist/htmx.js"></script>
<script src="/npm/htmx-ext-sse/sse.js"></script>
<div id="list" hx-ext="sse" sse-connect="[STREAM]" sse-swap="message,tick" sse-close="close"
    hx-swap="beforeend"></div>
<script>
    watch(document.getElementById("list"));
    overAt("htmx:sseClose");
</script>
"#;

pub(super) const HTMX_4: &str = r#"
<script src="/npm/htmx4/dist/htmx.js"></script>
<script src="/npm/htmx4/dist/ext/hx-sse.js"></script>
<div id="list" hx-sse:connect="[STREAM]" hx-sse:close="close" hx-swap="beforeend"></div>
<script>
    watch(document.getElementById("list"));
    overAt("htmx:sse:close");
</script>
"#;

pub(super) const ALPINE: &str = r#"
<script src="/tower-sse.classic.js"></script>
<script src="/tower-sse.extras.classic.js"></script>
<script src="/npm/alpinejs/dist/cdn.js" defer></script>
<div x-data x-init="$sse('[STREAM]', { message: see, tick: see })"></div>
<script>
    over = () => Alpine.store("sse").state === "closed";
</script>
"#;
