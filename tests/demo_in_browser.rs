//! The demo's page in a real browser, as a visitor would go through it.

#![cfg(unix)]

mod support;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use support::process::{Example, eventually, line_after};
use tokio::io::BufReader;
use tokio::process::{Child, Command};

#[tokio::test]
async fn a_visitor_sees_streams_live_closed_and_drained() {
    let demo = Example::start("demo", &[]).await;
    let browser = Browser::start().await;
    let visit = AssertUnwindSafe(visit(demo, &browser.page)).catch_unwind().await;
    // Also if something is not as it should be: the browser would outlive the driver.
    browser.stop().await;
    visit.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn visit(mut demo: Example, page: &Client) {
    page.goto(&demo.url("/")).await.expect("the page opens");
    status(page, "live").await;
    shows(page, "the feed grows, with ids", FEED, |feed| {
        feed.contains("1 message Espresso, please") && feed.contains("3 message ")
    })
    .await;
    let own = |row: &str| row.contains("this page") && row.contains(" /events ");
    shows(page, "the page's own stream is listed", OWN_ROW, own).await;

    let text = "<b>Fresh</b> scones";
    let input = page.find(Locator::Css("input[name=text]")).await.expect("an input");
    input.clear().await.expect("it can be cleared");
    input.send_keys(text).await.expect("it can be typed into");
    click(page, "#broadcast button").await;
    shows(page, "what was sent arrives", FEED, |feed| {
        feed.contains("announcement <b>Fresh</b> scones")
    })
    .await;
    shows(page, "it is told how many got it", NOTICE, |notice| notice == "Sent into 1 stream.")
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
    assert!(ended - asked < Duration::from_secs(2), "{:?}", ended - asked);
    status(page, "closed").await;
    shows(page, "it is told why", NOTICE, |notice| notice.contains("shuts down")).await;
    shows(page, "the server's end is told", "return count.textContent", |count| {
        count == "the server does not answer"
    })
    .await;
    save_screenshot(page, "demo-down.png").await;
}

async fn status(page: &Client, expected: &str) {
    let what = format!("the status is {expected}");
    shows(page, &what, "return document.getElementById('status').textContent", |status| {
        status == expected
    })
    .await;
}

async fn click(page: &Client, css: &str) {
    let button = page.find(Locator::Css(css)).await.expect("a button");
    button.click().await.expect("it can be clicked");
}

/// Waits until the text that a script returns is as expected.
async fn shows(page: &Client, what: &str, script: &str, is: impl Fn(&str) -> bool) {
    eventually(what, async || {
        let text = match page.execute(script, Vec::new()).await.expect("scripts run") {
            Value::String(text) => text,
            other => other.to_string(),
        };
        is(&text).then_some(())
    })
    .await;
}

/// For a look at the page. Nothing compares the pictures.
async fn save_screenshot(page: &Client, name: &str) {
    let picture = page.screenshot().await.expect("a picture");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, picture).expect("it can be saved");
}

/// A browser of its own, without the settings of whoever runs the tests.
struct Browser {
    page: Client,
    _driver: Child,
    profile: PathBuf,
}

impl Browser {
    async fn start() -> Self {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut driver = spawned.unwrap_or_else(|error| panic!("chromedriver: {error}; {NEEDED}"));
        let mut said = BufReader::new(driver.stdout.take().expect("it is piped"));
        let started = "ChromeDriver was started successfully on port ";
        let port = line_after(&mut said, started).await;
        let address = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));

        let name = format!("browser-{}", std::process::id());
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let connected = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&profile))
            .connect(&address)
            .await;
        let page = connected.unwrap_or_else(|error| panic!("chromium: {error}; {NEEDED}"));
        page.set_window_size(1200, 900).await.expect("a window");
        Self { page, _driver: driver, profile }
    }

    async fn stop(self) {
        self.page.close().await.expect("the browser ends");
        // Its last processes may still write there; then it is left to `cargo clean`.
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn capabilities(profile: &Path) -> Capabilities {
    let profile = format!("--user-data-dir={}", profile.display());
    let options = json!({ "args": [
        "--headless",
        // Chromium's own sandbox wants rights that containers do not have.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        // Nothing is fetched but from the demo.
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        profile,
    ]});
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)])
}

const NEEDED: &str = "this test needs the Debian packages `chromium` and `chromium-driver`";

/// One line an event, newest first: its id, name and data.
const FEED: &str = "return [...document.querySelectorAll('#feed li')]
    .map((item) => [...item.children].map((part) => part.textContent).join(' ')).join('\\n')";

/// The cells of the row that is marked, and its mark.
const OWN_ROW: &str = "return [...document.querySelectorAll('tr.own')].map((row) => [
        ...[...row.cells].map((cell) => cell.textContent),
        getComputedStyle(row.querySelector('.label'), '::after').content,
    ].join(' ')).join('\\n')";

const NOTICE: &str = "return document.getElementById('notice').textContent";
