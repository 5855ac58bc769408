//! The script for pages that follow streams, served by the application: feature `client`.
//!
//! A browser's own `EventSource` takes each end of a stream for a lost connection, gives up for
//! good at any status but 200, and has no sign of life. The script knows what the layers of this
//! crate say, and does the rest: it stops at a `close` event, comes back when the server asks it to
//! and not before, goes on after errors with a growing pause, notices a stream that is dead, has
//! one connection for all tabs if it is asked to, and shows on the page how the connection is
//! doing.
//!
//! It is in the program, so there is nothing to install and no other origin to trust: less than 4
//! KiB compressed, and another 1.2 KiB for `extras`.
//!
//! # Examples
//!
//! ```
//! use axum::Router;
//! use axum::response::Html;
//! use axum::routing::get;
//! use tower_sse::client;
//!
//! let app: Router = Router::new()
//!     .route("/", get(page))
//!     .route_service("/tower-sse.js", client::module());
//! # let _ = app;
//!
//! async fn page() -> Html<&'static str> {
//!     Html(
//!         r#"<p data-sse-status></p>
//! <script type="module">
//!   import { connect } from "/tower-sse.js";
//!   connect("/events", { events: { paid(event) { console.log(JSON.parse(event.data)); } } });
//! </script>"#,
//!     )
//! }
//! ```
//!
//! # What a page writes
//!
//! | client | with the script | without it |
//! | --- | --- | --- |
//! | JavaScript | `connect("/events", { events: { paid(event) {} } })` | `const source = new EventSource("/events"); source.addEventListener("paid", (event) => {}); source.addEventListener("close", () => source.close());` and what goes on after an error |
//! | htmx 2 with htmx-ext-sse | `<div hx-ext="sse" sse-connect="/events" sse-swap="paid">`, and the classic script | `<div hx-ext="sse" sse-connect="/events" sse-swap="paid" sse-close="close">` |
//! | htmx 4 with hx-sse | `<div hx-sse:connect="/events">`, and the classic script with `extras_classic` | `<div hx-sse:connect="/events" hx-sse:close="close">` |
//! | Alpine 3 | `<div x-data x-init="$sse('/events', { paid: (event) => {} })">`, with `extras` | an `EventSource` in `init()`, as above, and `source.close()` in `destroy()` |
//! | an answer to a POST | `for await (const event of stream("/answer", { method: "POST", body })) {}` | `fetch`, a parser of the stream, and a return with `Last-Event-ID` |
//!
//! Without the script, `close` must be heeded by each of them, or the client comes back to a stream
//! that is over. With it, the attribute and the listener do no harm.
//!
//! # Which script
//!
//! | function | usual path | what it is |
//! | --- | --- | --- |
//! | [`module`] | `/tower-sse.js` | the script as a module, for `import` |
//! | [`classic`] | `/tower-sse.classic.js` | the same for `<script src>`, as the global `towerSse` |
//! | [`extras`] | `/tower-sse.extras.js` | htmx 4, Alpine and toasts, beside the module, which it imports as `./tower-sse.js` |
//! | [`extras_classic`] | `/tower-sse.extras.classic.js` | the same, after the classic script |
//! | [`development`] | `/tower-sse.dev.js` | the module with warnings in the console, beside the module |
//!
//! The tag of the classic script may stand before or after those of htmx.
//!
//! # Integrity
//!
//! The constants are what `<script integrity>` takes: a page that has them runs the script that it
//! was built with, whatever stands between the server and the browser.
//!
//! ```
//! use tower_sse::client;
//!
//! let tag = format!(
//!     r#"<script src="/tower-sse.classic.js" integrity="{}"></script>"#,
//!     client::CLASSIC_INTEGRITY,
//! );
//! assert!(tag.contains("sha384-"));
//! ```

mod script;

pub use script::ClientScript;

/// The script as a module, for `import`. Its usual path is `/tower-sse.js`.
pub fn module() -> ClientScript {
    ClientScript::new(include_str!("../../client/dist/tower-sse.min.js"), MODULE_INTEGRITY)
}

/// The integrity of [`module`].
pub const MODULE_INTEGRITY: &str = include_str!("../../client/dist/tower-sse.min.js.sri");

/// The script for `<script src>`, which makes a global `towerSse`. Its usual path is
/// `/tower-sse.classic.js`.
pub fn classic() -> ClientScript {
    ClientScript::new(include_str!("../../client/dist/tower-sse.classic.js"), CLASSIC_INTEGRITY)
}

/// The integrity of [`classic`].
pub const CLASSIC_INTEGRITY: &str = include_str!("../../client/dist/tower-sse.classic.js.sri");

/// What attaches the script to htmx 4 and Alpine, and shows toasts: a module, which has to be
/// beside that of [`module`] at `./tower-sse.js`. Its usual path is `/tower-sse.extras.js`.
pub fn extras() -> ClientScript {
    ClientScript::new(include_str!("../../client/dist/tower-sse.extras.min.js"), EXTRAS_INTEGRITY)
}

/// The integrity of [`extras`].
pub const EXTRAS_INTEGRITY: &str = include_str!("../../client/dist/tower-sse.extras.min.js.sri");

/// The same as [`extras`] for `<script src>`, after the script of [`classic`]. Its usual path is
/// `/tower-sse.extras.classic.js`.
pub fn extras_classic() -> ClientScript {
    ClientScript::new(
        include_str!("../../client/dist/tower-sse.extras.classic.js"),
        EXTRAS_CLASSIC_INTEGRITY,
    )
}

/// The integrity of [`extras_classic`].
pub const EXTRAS_CLASSIC_INTEGRITY: &str =
    include_str!("../../client/dist/tower-sse.extras.classic.js.sri");

/// The script for development: what [`module`] exports, and warnings in the console of what a page
/// gets wrong. It has to be beside the module, at `./tower-sse.js`. Its usual path is
/// `/tower-sse.dev.js`.
pub fn development() -> ClientScript {
    let integrity = include_str!("../../client/dist/tower-sse.dev.js.sri");
    ClientScript::new(include_str!("../../client/tower-sse.dev.js"), integrity)
}
