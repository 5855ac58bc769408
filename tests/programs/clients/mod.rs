//! Clients of event streams beside the acceptance server: they see whole events, come back to where
//! they were, and stop when they are told to.
//!
//! `tests/run` installs them, as `npm.txt` and `python.txt` pin them.

mod list;
mod native;
mod pages;
mod sdks;

use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::harness::LONG;
use crate::harness::bidi::{Browser, Page, Program, in_a};
use crate::harness::pages::are_installed;
use crate::harness::process::Example;
use crate::harness::sdk::{node, python};
use crate::harness::tap::{Cut, Tap, forward_to};
use list::{CLIENTS, Client, ComesBack, Runs, Sees};

/// An event as a client gives it: its name, its data and its id, if the client tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Seen {
    event: Option<String>,
    data: String,
    id: Option<String>,
}

impl Seen {
    fn new(event: String, data: String, id: String) -> Self {
        Self { event: Some(event), data, id: Some(id) }
    }
}

/// The streams of the acceptance server that are hard to read, and their events.
///
/// There is silence between the events of the first, which comments break. Those of the others come
/// in pieces, with a CRLF cut in two, and after a byte order mark.
const HARD: [(&str, [(&str, &str); 2]); 4] = [
    ("/quiet", [("message", "{\"n\":1}"), ("message", "{\"n\":2}")]),
    ("/slow-mid-event", [("message", "part1\npart2"), ("message", "whole")]),
    ("/crlf", [("tick", "a\nb"), ("message", "z")]),
    ("/bom", [("message", "{\"n\":1}"), ("message", "{\"n\":2}")]),
];

/// A stream to come back to, with this many events.
const LOG: &str = "/log?n=40";
const EVENTS: usize = 40;

/// Where its connection breaks off: after the first event, which tells how soon to come back, and
/// then at any byte of some later one.
const CUT: Cut = Cut { below: "/log", after: 150, more: 17 };

/// A stream that the server closes, without a word on when to come back.
const CLOSING: &str = "/closing";

/// Longer than any client waits before it comes back, unless it is told to wait.
const AWAY: Duration = Duration::from_secs(10);

impl Client {
    fn saw_all_of_a_hard_stream(&self, path: &str, expected: &[(&str, &str)], seen: &[Seen]) {
        let name = self.name;
        let expected = expected.iter().zip(1..);
        let expected = expected.filter(|((event, _), _)| self.sees(event)).collect::<Vec<_>>();
        assert_eq!(seen.len(), expected.len(), "{name}, {path}: {seen:?}");
        for (seen, ((event, data), n)) in seen.iter().zip(expected) {
            assert_eq!(seen.data, *data, "{name}, {path}");
            let told = (self.sees == Sees::Events).then_some(*event);
            assert_eq!(seen.event.as_deref(), told, "{name}, {path}");
            let id = seen.id.as_deref();
            let has_its_id = id.is_some_and(|id| id.ends_with(&format!("-{n}")));
            assert_eq!(has_its_id, self.sees == Sees::Events, "{name}, {path}: {id:?}");
        }
    }

    /// Whether it gives events with this name to the application.
    fn sees(&self, event: &str) -> bool {
        event == "message" || self.sees != Sees::UnnamedData
    }

    fn saw_a_stream_that_broke_off(&self, tap: &Tap, seen: &[Seen]) {
        let name = self.name;
        let number = |seen: &Seen| {
            let (_, rest) = seen.data.split_once("\"n\":").expect("each has a number");
            rest.split_once(',').expect("and more").0.parse().expect("a number")
        };
        let numbers: Vec<usize> = seen.iter().map(number).collect();
        assert_eq!(numbers, (1..=EVENTS).collect::<Vec<_>>(), "{name}");
        // On a busy machine the first connection may break off before the first event has come.
        let asked = tap.asked(LOG).into_iter().skip_while(|asked| asked.last_event_id.is_none());
        let back: Vec<_> = asked.collect();
        assert!(back.len() > 5, "{name}: {back:?}");
        assert!(back.iter().all(|asked| asked.last_event_id.is_some()), "{name}: {back:?}");
    }

    fn was_stopped(&self, tap: &Tap, seen: &[Seen]) {
        let name = self.name;
        assert!(seen.len() > 1, "{name}: {seen:?}");
        assert_eq!(tap.asked(CLOSING).len(), 1, "{name}");
    }
}

/// A server, and what sees that a client asks it, and can break connections off.
async fn tap_over(server: &Example) -> Tap {
    Tap::over(Router::new().merge(pages::routes()).merge(forward_to(&server.url("")))).await
}

/// A client that a test starts for each stream.
async fn is_tried(client: &Client) {
    let server = Example::start("acceptance", &[]).await;
    let tap = tap_over(&server).await;
    let hard = HARD.iter().map(async |(path, expected)| {
        let seen = client.reads(&tap.url(path), expected[1].1).await;
        client.saw_all_of_a_hard_stream(path, expected, &seen);
    });
    let log = async {
        tap.cut(CUT);
        let seen = client.reads(&tap.url(LOG), &format!("\"n\":{EVENTS},")).await;
        client.saw_a_stream_that_broke_off(&tap, &seen);
    };
    let closing = async {
        // It ends by itself: nothing waits any more, to come back.
        let seen = client.reads(&tap.url(CLOSING), "").await;
        assert_eq!(seen.last().and_then(|last| last.event.as_deref()), Some("close"));
        client.was_stopped(&tap, &seen);
    };
    tokio::join!(join_all(hard), log, closing);
}

impl Client {
    /// What it gave of the stream at an address, up to the event whose data has `until` in it, or
    /// to the close event.
    async fn reads(&self, url: &str, until: &str) -> Vec<Seen> {
        let read = async {
            match self.runs {
                Runs::Page(_) => unreachable!("pages are opened in browsers"),
                Runs::Node(package) => {
                    printed(node("event_streams.mjs").args([package, url, until])).await
                }
                Runs::Python(package) => {
                    printed(python("event_streams.py").args([package, url, until])).await
                }
                Runs::Rust(read) | Runs::Program(read) => read(url.into(), until.into()).await,
            }
        };
        let seen = timeout(LONG, read).await;
        seen.unwrap_or_else(|_| panic!("{} does not end with {url}", self.name))
    }
}

/// What a script prints, when it has ended.
async fn printed(script: &mut Command) -> Vec<Seen> {
    let output = script.output().await.expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let seen =
        serde_json::from_slice::<Vec<(Option<String>, String, Option<String>)>>(&output.stdout);
    let seen = seen.unwrap_or_else(|error| panic!("{error}: {errors}"));
    seen.into_iter().map(|(event, data, id)| Seen { event, data, id }).collect()
}

/// All pages at the same time, each with a server of its own, since a browser has six connections
/// for each.
async fn pages_are_tried(program: Program) {
    are_installed();
    let server = &Example::start("acceptance", &[]).await;
    in_a(program, async |browser| {
        let pages = CLIENTS.iter().filter(|client| matches!(client.runs, Runs::Page(_)));
        join_all(pages.map(|client| page_is_tried(client, browser, server))).await;
    })
    .await;
}

async fn page_is_tried(client: &Client, browser: &Browser, server: &Example) {
    let tap = tap_over(server).await;
    let page = browser.window().await;
    let open = async |stream: &str| page.goto(&tap.url(&pages::path(client.name, stream))).await;
    let has_seen = async |what: &str| {
        let last = "JSON.stringify(seen.at(-1)?.[1] ?? '')";
        let what = serde_json::to_string(what).expect("a text");
        let what = what.trim_matches('"');
        page.shows(client.name, last, |last| last.contains(what)).await;
    };
    for (path, expected) in &HARD {
        open(path).await;
        has_seen(expected[1].1).await;
        client.saw_all_of_a_hard_stream(path, expected, &seen(&page).await);
    }
    tap.cut(CUT);
    open(LOG).await;
    has_seen(&format!("\"n\":{EVENTS},")).await;
    client.saw_a_stream_that_broke_off(&tap, &seen(&page).await);
    tap.mend();

    open(CLOSING).await;
    page.shows(client.name, "over()", |over| over == "true").await;
    sleep(AWAY).await;
    client.was_stopped(&tap, &seen(&page).await);
}

/// What a page has seen.
async fn seen(page: &Page) -> Vec<Seen> {
    let seen: Vec<(Option<String>, String, Option<String>)> =
        serde_json::from_value(page.value("seen").await).expect("as the pages note it");
    seen.into_iter().map(|(event, data, id)| Seen { event, data, id }).collect()
}

#[tokio::test]
async fn pages_in_chromium_read_whole_events_come_back_and_stop() {
    pages_are_tried(Program::Chromium).await;
}

#[tokio::test]
async fn pages_in_firefox_read_whole_events_come_back_and_stop() {
    pages_are_tried(Program::Firefox).await;
}

/// A test a client, so that they run side by side.
macro_rules! tried {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $test() {
                let client = CLIENTS.iter().find(|client| client.name == $name);
                is_tried(client.expect("it is listed")).await;
            }
        )*

        #[test]
        fn each_client_of_the_list_is_tried() {
            let listed = CLIENTS.iter().filter(|client| !matches!(client.runs, Runs::Page(_)));
            assert_eq!(listed.map(|client| client.name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

tried! {
    eventsource_reads_whole_events_comes_back_and_stops: "eventsource",
    fetch_event_source_reads_whole_events_comes_back_and_stops: "fetch-event-source",
    httpx_sse_reads_whole_events_comes_back_and_stops: "httpx-sse",
    sseclient_py_reads_whole_events_comes_back_and_stops: "sseclient-py",
    reqwest_eventsource_reads_whole_events_comes_back_and_stops: "reqwest-eventsource",
    eventsource_stream_reads_whole_events_comes_back_and_stops: "eventsource-stream",
    curl_reads_whole_events_comes_back_and_stops: "curl",
}

/// The rows of the manual's table, as they follow from what is tried.
fn rows() -> String {
    let row = |client: &Client| {
        let comes_back = match client.comes_back {
            ComesBack::ByItself => "by itself",
            ComesBack::ByHand => "by hand",
        };
        format!("| {} | {} | {comes_back} | {} |\n", client.name, client.place(), client.stops)
    };
    CLIENTS.iter().map(row).collect()
}

#[test]
fn the_manual_lists_the_clients_that_are_tried() {
    let chapter = include_str!("../../../src/manual/clients.md");
    let table = rows();
    assert!(chapter.contains(&table), "the chapter has to have these rows:\n{table}");
}
