//! What htmx makes of streams that have finished. It does not stop at a 204.
//!
//! `tests/run` installs it, as `clients/npm.txt` pins it.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;
use tower_sse::resume::{Finished, ResumeKey};
use tower_sse::{Dialect, ResumeLayer, Shutdown, SseLayer};

use crate::harness::browser::{in_browser, shows, told};
use crate::harness::process::{Example, eventually};
use crate::harness::tap::{Asked, Tap, forward_to};

#[tokio::test]
async fn htmx_4_asks_at_most_twice_a_minute_and_not_at_all_if_it_closes() {
    let server = Example::start("acceptance", &[]).await;
    let elements = r#"
        <div id="once" hx-sse:connect="/once?stays" hx-swap="beforeend"></div>
        <div id="finite" hx-sse:connect="/finite?stays" hx-swap="beforeend"></div>
        <div id="closes" hx-sse:connect="/finite?closes" hx-sse:close="close" hx-swap="beforeend"></div>
        <div id="loops" hx-sse:connect="/no-content" hx-swap="beforeend"></div>"#;
    let scripts = ["htmx4/dist/htmx.js", "htmx4/dist/ext/hx-sse.js"];
    let app = own_streams().merge(page(&scripts, elements));
    let tap = Tap::over(forward_to(&server.url("")).merge(app)).await;
    in_browser(async |page| {
        page.goto(&tap.url("/page")).await.expect("it opens");
        shows(page, "the last event comes", &text_of("closes"), |text| text == THREE).await;

        // It comes back when the events said, and is then told to come back in a day; it does so in
        // a minute, less 30 % of jitter.
        is_asked(&tap, "/once?stays", 2).await;
        // By the `retry` of the close event this is in 14 to 26 seconds.
        sleep(Duration::from_secs(13)).await;
        is_asked(&tap, "/finite?stays", 2).await;
        sleep(Duration::from_secs(1)).await;
        for (id, path) in [("once", "/once?stays"), ("finite", "/finite?stays")] {
            let asked = asked(&tap, path);
            assert_eq!(asked.len(), 2, "{asked:?}");
            assert!(asked[1].last_event_id.is_some() && asked[1].status == 200, "{asked:?}");
            let expected = if id == "once" { "{\"n\":1}" } else { THREE };
            assert_eq!(told(page, &text_of(id)).await, expected);
        }
        let waits = "return delays.filter((delay) => delay >= 42_000 && delay <= 78_000
            && delay !== htmx.config.defaultTimeout).length";
        assert_eq!(told(page, waits).await, "2", "{}", told(page, "return delays").await);
        assert_eq!(asked(&tap, "/finite?closes").len(), 1);

        // What it would do.
        let loops = asked(&tap, "/no-content");
        assert!(loops.len() > 10, "{} requests", loops.len());
        assert!(loops[1..].iter().all(|asked| asked.status == 204));
    })
    .await;
}

#[tokio::test]
async fn htmx_2_stays_away_if_it_is_told_by_an_event() {
    let server = Example::start("acceptance", &[]).await;
    let elements = r#"
        <div id="closes" hx-ext="sse" sse-connect="/finite?closes" sse-swap="message" sse-close="close"
            hx-swap="beforeend"></div>
        <div id="told" hx-ext="sse" sse-connect="/told" sse-swap="message" hx-swap="beforeend"></div>
        <div id="anew" hx-ext="sse" sse-connect="/no-content" sse-swap="message" hx-swap="beforeend"></div>"#;
    let scripts = ["htmx2/dist/htmx.js", "htmx-ext-sse/sse.js"];
    let app = own_streams().merge(page(&scripts, elements));
    let tap = Tap::over(forward_to(&server.url("")).merge(app)).await;
    in_browser(async |page| {
        page.goto(&tap.url("/page")).await.expect("it opens");
        shows(page, "the last event comes", &text_of("closes"), |text| text == THREE).await;
        is_asked(&tap, "/told", 2).await;
        sleep(Duration::from_secs(5)).await;

        assert_eq!(asked(&tap, "/finite?closes").len(), 1);
        let told_once = asked(&tap, "/told");
        assert_eq!(told_once.len(), 2, "{told_once:?}");
        assert!(told_once[1].last_event_id.is_some() && told_once[1].status == 200);
        assert_eq!(told(page, &text_of("told")).await, "one");

        // What it would do: a new source, which begins a new stream.
        let anew = asked(&tap, "/no-content");
        let begun = anew.iter().filter(|asked| asked.last_event_id.is_none()).count();
        assert!(begun >= 3, "{anew:?}");
        assert!(told(page, &text_of("anew")).await.starts_with("oneone"));
    })
    .await;
}

/// Without `sse-close`, and without a close event that anybody listens to.
#[tokio::test]
async fn htmx_is_through_with_a_stream_in_its_dialect_that_the_server_has_ended() {
    let of_htmx_2 = r#"<div id="progress" hx-ext="sse" sse-connect="/progress" sse-swap="message"
        hx-swap="beforeend"></div>"#;
    let of_htmx_4 = r#"<div id="progress" hx-sse:connect="/progress" hx-swap="beforeend"></div>"#;
    let pages = [
        (["htmx2/dist/htmx.js", "htmx-ext-sse/sse.js"], of_htmx_2),
        (["htmx4/dist/htmx.js", "htmx4/dist/ext/hx-sse.js"], of_htmx_4),
    ];
    for (scripts, element) in pages {
        let shutdown = Shutdown::builder().window(Duration::ZERO).build().expect("it can work");
        let layer = SseLayer::new().dialect(Dialect::htmx("progress")).shutdown(shutdown.clone());
        let progress = Router::new().route("/progress", get(one_and_more)).layer(layer);
        let tap = Tap::over(progress.merge(page(&scripts, element))).await;
        in_browser(async |page| {
            page.goto(&tap.url("/page")).await.expect("it opens");
            shows(page, "the first event comes", &text_of("progress"), |text| text == "one").await;
            shutdown.trigger();
            let is_there = "return String(document.getElementById('progress') !== null)";
            shows(page, "the element goes", is_there, |text| text == "false").await;
            // By the `retry` of the close event it would be back in a second.
            sleep(Duration::from_secs(5)).await;
            assert_eq!(asked(&tap, "/progress").len(), 1, "{element}");
        })
        .await;
    }
}

/// A stream that goes on after its first event.
async fn one_and_more() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::iter([Ok(Event::default().data("one"))]).chain(stream::pending()))
}

/// Streams that finish, for whose end the application says the same to all.
fn own_streams() -> Router {
    let layer = |answer| {
        let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "anybody"));
        ResumeLayer::new(key).finished(answer)
    };
    Router::new()
        .route("/told", get(one).layer(layer(Finished::Close(Duration::from_secs(3600)))))
        .route("/no-content", get(one).layer(layer(Finished::NoContent)))
        .layer(SseLayer::new())
}

async fn one() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let event = Event::default().retry(Duration::from_millis(200)).data("one");
    Sse::new(stream::iter([Ok(event)]))
}

/// A page with these scripts, which are on this machine, and these elements.
fn page(scripts: &[&str], elements: &str) -> Router {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/npm/node_modules");
    let mut router = Router::new();
    // How long it means to wait, for what takes too long to wait for.
    let mut head = "<script>
        const delays = [];
        const wait = window.setTimeout;
        window.setTimeout = (then, delay, ...rest) => {
            delays.push(delay);
            return wait(then, delay, ...rest);
        };
    </script>"
        .to_owned();
    for script in scripts {
        let file = modules.join(script);
        let source = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}: tests/run installs it", file.display()));
        let path = format!("/{script}");
        head += &["<script src=\"", &path, "\"></script>"].concat();
        let answer = ([(CONTENT_TYPE, "text/javascript")], source);
        router = router.route(&path, get(async move || answer));
    }
    let icon = "<link rel=\"icon\" href=\"data:,\">";
    let page = Html(format!("<!doctype html><title>htmx</title>{icon}{head}{elements}"));
    router.route("/page", get(async move || page))
}

fn asked(tap: &Tap, path: &str) -> Vec<Asked> {
    let all = tap.asked(path).into_iter();
    all.filter(|asked| asked.path == path).collect()
}

async fn is_asked(tap: &Tap, path: &str, times: usize) {
    let what = format!("{path} is asked for {times} times");
    eventually(&what, async || (asked(tap, path).len() >= times).then_some(())).await;
}

fn text_of(id: &str) -> String {
    format!("return document.getElementById('{id}').textContent")
}

const THREE: &str = "{\"n\":1}{\"n\":2}{\"n\":3}";
