//! Chromium and its driver, as Debian has them.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::process::{Child, Command};

use crate::harness::process::line_after;

/// Starts a driver, and returns its address. The driver ends with the process that is returned.
pub async fn driver() -> (Child, String) {
    let spawned = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut driver = spawned.unwrap_or_else(|error| panic!("chromedriver: {error}; {NEEDED}"));
    let mut said = BufReader::new(driver.stdout.take().expect("it is piped"));
    let port = line_after(&mut said, "ChromeDriver was started successfully on port ").await;
    (driver, format!("http://127.0.0.1:{}", port.trim_end_matches('.')))
}

/// The options of a browser with this profile, for `goog:chromeOptions`.
pub fn options(profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    json!({ "args": [
        "--headless",
        // Chromium's own sandbox wants rights that containers do not have.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        // Nothing is fetched but from the tests.
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        profile,
    ]})
}

pub const NEEDED: &str = "this test needs the Debian packages `chromium` and `chromium-driver`";
