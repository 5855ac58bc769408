//! The demo's page in a real browser, as a visitor would go through it.

use std::time::{Duration, Instant};

use fantoccini::Client;

use crate::harness::browser::{click, in_browser, save_screenshot, shows, told, write};
use crate::harness::process::Example;

#[tokio::test]
async fn a_visitor_sees_streams_live_closed_and_drained() {
    let demo = Example::start("demo", &[]).await;
    in_browser(async |page| visit(demo, page).await).await;
}

async fn visit(mut demo: Example, page: &Client) {
    page.goto(&demo.url("/")).await.expect("the page opens");
    status(page, "live").await;
    shows(page, "the feed grows, with ids", FEED, |feed| {
        feed.contains("1 message Espresso, please") && feed.contains("3 message ")
    })
    .await;
    let own = |row: &str| row.contains("#1 this page /events ");
    shows(page, "the page's own stream is listed, by a short name", OWN_ROW, own).await;
    shows(page, "the bytes of another one are shown", WIRE, |wire| {
        wire.starts_with(":\ndata: Espresso, please\nid: 1\n\n")
    })
    .await;
    shows(page, "with its keepalives", WIRE, |wire| wire.contains("id: 4\n\n:\n:\n")).await;
    shows(page, "which are counted", HEARD, |heard| heard.ends_with(" keepalives")).await;

    let text = "<b>Fresh</b> scones";
    write(page, "input[name=text]", text).await;
    click(page, "#broadcast button").await;
    shows(page, "what was sent arrives", FEED, |feed| {
        feed.contains("announcement <b>Fresh</b> scones")
    })
    .await;
    shows(page, "it is told how many got it", NOTICE, |notice| notice == "Sent into 2 streams.")
        .await;
    shows(page, "the events are counted", OWN_ROW, |row| row.contains(" open ")).await;
    save_screenshot(page, "demo-live.png").await;

    click(page, "tr.own button").await;
    status(page, "closed").await;
    shows(page, "it is told why", NOTICE, |notice| notice.contains("kicked")).await;
    shows(page, "its row goes", "return [...document.querySelectorAll('tr.own')].length", |rows| {
        rows == "0"
    })
    .await;
    save_screenshot(page, "demo-kicked.png").await;
    // A page that did not close its stream would be back by now.
    tokio::time::sleep(Duration::from_secs(4)).await;
    status(page, "closed").await;

    page.refresh().await.expect("it loads again");
    status(page, "live").await;
    shows(page, "the feed grows anew", FEED, |feed| feed.contains("1 message Espresso")).await;

    let asked = Instant::now();
    click(page, "#shutdown").await;
    // The browser still has connections to the server, which must not keep it.
    let (exit, ended) = demo.exit().await;
    assert_eq!(exit.code(), Some(0));
    assert!(ended - asked < Duration::from_secs(20), "{:?}", ended - asked);
    status(page, "closed").await;
    shows(page, "it is told why", NOTICE, |notice| notice.contains("shuts down")).await;
    shows(page, "the wire has it", WIRE, |wire| {
        wire.contains("\nevent: close\nretry: ")
            && wire.contains("\ndata: {\"reason\":\"shutdown\"}\n")
    })
    .await;
    shows(page, "and the end", HEARD, |heard| heard == "the body has ended").await;
    shows(page, "the server's end is told", "return count.textContent", |count| {
        count == "the server does not answer"
    })
    .await;
    save_screenshot(page, "demo-down.png").await;

    // A server that is gone is not asked any more.
    told(page, COUNT_REQUESTS).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(told(page, "return window.requests").await, "0");
}

async fn status(page: &Client, expected: &str) {
    let what = format!("the status is {expected}");
    shows(page, &what, "return document.getElementById('status').textContent", |status| {
        status == expected
    })
    .await;
}

/// One line an event, newest first: its id, name and data.
const FEED: &str = "return [...document.querySelectorAll('#feed li')]
    .map((item) => [...item.children].map((part) => part.textContent).join(' ')).join('\\n')";

/// The cells of the row that is marked.
const OWN_ROW: &str = "return [...document.querySelectorAll('tr.own')]
    .map((row) => [...row.cells].map((cell) => cell.textContent).join(' ')).join('\\n')";

/// The bytes, a line a line.
const WIRE: &str = "return [...document.getElementById('wire').children]
    .map((line) => line.textContent + '\\n').join('')";

const HEARD: &str = "return document.getElementById('heard').textContent";

const COUNT_REQUESTS: &str = "window.requests = 0;
    const ask = window.fetch;
    window.fetch = (...what) => { window.requests += 1; return ask(...what); };";

const NOTICE: &str = "return document.getElementById('notice').textContent";
