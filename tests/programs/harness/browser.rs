//! A real browser, as visitors of the examples' pages have it.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;
use tokio::process::Child;

use crate::harness::chromium;
use crate::harness::process::eventually;

/// Does this with a browser, which ends with it.
pub async fn in_browser(visit: impl AsyncFnOnce(&Client)) {
    let browser = Browser::start().await;
    let visit = AssertUnwindSafe(visit(&browser.page)).catch_unwind().await;
    // Also if something is not as it should be: the browser would outlive the driver.
    browser.stop().await;
    visit.unwrap_or_else(|panic| resume_unwind(panic));
}

pub async fn click(page: &Client, css: &str) {
    let button = page.find(Locator::Css(css)).await.expect("a button");
    button.click().await.expect("it can be clicked");
}

/// Waits until the text that a script returns is as expected.
pub async fn shows(page: &Client, what: &str, script: &str, is: impl Fn(&str) -> bool) {
    eventually(what, async || is(&told(page, script).await).then_some(())).await;
}

/// The text that a script returns, or its value as JSON.
pub async fn told(page: &Client, script: &str) -> String {
    match page.execute(script, Vec::new()).await.expect("scripts run") {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Types into what may have something in it.
pub async fn write(page: &Client, css: &str, text: &str) {
    let input = page.find(Locator::Css(css)).await.expect("an input");
    input.clear().await.expect("it can be cleared");
    input.send_keys(text).await.expect("it can be typed into");
}

/// For a look at the page. Nothing compares the pictures.
pub async fn save_screenshot(page: &Client, name: &str) {
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
        let (driver, address) = chromium::driver().await;
        let count = BROWSERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("browser-{}-{count}", std::process::id());
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let options = ("goog:chromeOptions".to_owned(), chromium::options(&profile));
        let capabilities = Capabilities::from_iter([options]);
        let connected = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&address)
            .await;
        let page =
            connected.unwrap_or_else(|error| panic!("chromium: {error}; {}", chromium::NEEDED));
        page.set_window_size(1200, 900).await.expect("a window");
        Self { page, _driver: driver, profile }
    }

    async fn stop(self) {
        self.page.close().await.expect("the browser ends");
        // Its last processes may still write there; then it is left to `cargo clean`.
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Of this process: each has a profile of its own.
static BROWSERS: AtomicUsize = AtomicUsize::new(0);
