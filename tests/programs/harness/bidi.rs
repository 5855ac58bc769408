//! Several pages in one browser, driven at the same time by the two-way protocol of web drivers:
//! Chromium by way of its driver, Firefox by itself.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::LONG;
use crate::harness::chromium;
use crate::harness::process::eventually;

/// A browser that is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Chromium,
    Firefox,
}

/// Does this with a browser of its own, which ends with it.
pub async fn in_a(program: Program, visit: impl AsyncFnOnce(&Browser)) {
    let browser = Browser::start(program).await;
    let visit = AssertUnwindSafe(visit(&browser)).catch_unwind().await;
    // Also if something is not as it should be: the browser would outlive the driver.
    browser.stop().await;
    visit.unwrap_or_else(|panic| resume_unwind(panic));
}

/// A browser of its own, without the settings of whoever runs the tests.
pub struct Browser {
    link: Arc<Link>,
    process: Child,
    profile: PathBuf,
}

impl Browser {
    async fn start(program: Program) -> Self {
        let count = BROWSERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("bidi-{}-{count}", std::process::id());
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&profile).expect("a folder for the profile");
        let (process, address) = match program {
            Program::Chromium => chromium(&profile).await,
            Program::Firefox => firefox(&profile).await,
        };
        let link = Link::to(&address).await;
        if program == Program::Firefox {
            link.ask("session.new", json!({ "capabilities": {} })).await;
        }
        link.ask("session.subscribe", json!({ "events": ["log.entryAdded"] })).await;
        Self { link, process, profile }
    }

    /// A window with one page, which is seen whatever other windows are.
    pub async fn window(&self) -> Page {
        self.create(json!({ "type": "window" })).await
    }

    /// Hides the page of the window that was opened last, by a tab in front of it.
    pub async fn hide(&self, page: &Page) -> Page {
        let cover = self.create(json!({ "type": "tab", "referenceContext": page.context })).await;
        page.shows("it is hidden", "document.visibilityState", |is| is == "hidden").await;
        cover
    }

    /// Closes that tab.
    pub async fn show(&self, page: &Page, cover: Page) {
        cover.close().await;
        page.activate().await;
        page.shows("it is seen", "document.visibilityState", |is| is == "visible").await;
    }

    async fn create(&self, what: Value) -> Page {
        let created = self.link.ask("browsingContext.create", what).await;
        let context = created["context"].as_str().expect("it has a name").to_owned();
        Page { link: Arc::clone(&self.link), context }
    }

    async fn stop(mut self) {
        // It may end before it answers.
        let _ = timeout(Duration::from_secs(10), self.link.say("browser.close", json!({}))).await;
        // The driver of Chromium stays.
        if timeout(Duration::from_millis(500), self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
        // Its last processes may still write there; then it is left to `cargo clean`.
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// One page of a browser: of a window or of a tab.
#[derive(Clone)]
pub struct Page {
    link: Arc<Link>,
    context: String,
}

impl Page {
    pub async fn goto(&self, url: &str) {
        let to = json!({ "context": self.context, "url": url, "wait": "complete" });
        self.link.ask("browsingContext.navigate", to).await;
    }

    /// Opens a page that need not come. Gives whether it has come within this time.
    pub async fn comes(&self, url: &str, within: Duration) -> bool {
        let to = json!({ "context": self.context, "url": url, "wait": "complete" });
        timeout(within, self.link.say("browsingContext.navigate", to)).await.is_ok()
    }

    pub async fn reload(&self) {
        let what = json!({ "context": self.context, "wait": "complete" });
        self.link.ask("browsingContext.reload", what).await;
    }

    /// Goes back by one page.
    pub async fn back(&self) {
        let back = json!({ "context": self.context, "delta": -1 });
        self.link.ask("browsingContext.traverseHistory", back).await;
    }

    async fn activate(&self) {
        self.link.ask("browsingContext.activate", json!({ "context": self.context })).await;
    }

    pub async fn close(&self) {
        self.link.ask("browsingContext.close", json!({ "context": self.context })).await;
    }

    /// The value of an expression, awaited, as JSON has it.
    pub async fn value(&self, expression: &str) -> Value {
        let what = json!({
            "expression": format!("(async () => JSON.stringify(await ({expression})) ?? 'null')()"),
            "target": { "context": self.context },
            "awaitPromise": true,
        });
        let told = eventually("the page is there", async || {
            match self.link.say("script.evaluate", what.clone()).await {
                Ok(told) => Some(told),
                // The page changes just now.
                Err(error) if error.contains("ontext") => None,
                Err(error) => panic!("{expression}: {error}"),
            }
        })
        .await;
        let Some(json) = told["result"]["value"].as_str() else {
            panic!("{expression}: {told}");
        };
        serde_json::from_str(json).expect("it is JSON")
    }

    /// Runs a script as it is.
    pub async fn run(&self, script: &str) {
        let target = json!({ "context": self.context });
        let what = json!({ "expression": script, "target": target, "awaitPromise": true });
        let told = self.link.ask("script.evaluate", what).await;
        assert_eq!(told["type"], "success", "{told}");
    }

    /// A command of Chromium's own.
    pub async fn cdp(&self, method: &str, params: Value) -> Value {
        let context = json!({ "context": self.context });
        let session = self.link.ask("goog:cdp.getSession", context).await;
        let session = session["session"].clone();
        let command = json!({ "method": method, "params": params, "session": session });
        self.link.ask("goog:cdp.sendCommand", command).await["result"].clone()
    }

    /// The value as a text.
    pub async fn text(&self, expression: &str) -> String {
        match self.value(expression).await {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until the expression's value is as expected.
    pub async fn shows(&self, what: &str, expression: &str, is: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let shown = eventually_or(async || {
            last = self.text(expression).await;
            is(&last)
        });
        let shown = shown.await;
        assert!(shown, "it does not come that {what}: {last}; {:?}", self.said());
    }

    /// What scripts said at the console, from warnings on, and errors that nobody caught, since the
    /// browser's start. The browser's own lines on requests that failed are no part of it.
    pub fn said(&self) -> Vec<String> {
        let said = self.link.said.lock().expect("nobody panics with it");
        let own = said.iter().filter(|(context, _)| *context == self.context);
        own.map(|(_, text)| text.clone()).collect()
    }
}

/// Asks until it is so. Gives whether it was.
async fn eventually_or(mut ask: impl AsyncFnMut() -> bool) -> bool {
    let asked = timeout(LONG, async {
        while !ask().await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    asked.await.is_ok()
}

/// The connection by which commands go to a browser.
struct Link {
    commands: mpsc::UnboundedSender<Message>,
    count: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>,
    said: Mutex<Vec<(String, String)>>,
}

impl Link {
    async fn to(address: &str) -> Arc<Self> {
        let connected = timeout(LONG, tokio_tungstenite::connect_async(address)).await;
        let (socket, _) = connected.expect("it answers").expect("it takes the connection");
        let (mut out, mut messages) = socket.split();
        let (commands, mut said) = mpsc::unbounded_channel();
        let link = Arc::new(Self {
            commands,
            count: AtomicU64::new(0),
            waiting: Mutex::default(),
            said: Mutex::default(),
        });
        tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                if out.send(message).await.is_err() {
                    break;
                }
            }
        });
        let heard = Arc::clone(&link);
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if let Message::Text(text) = message {
                    heard.hear(&serde_json::from_str(&text).expect("it speaks JSON"));
                }
            }
            // Nobody waits for what does not come.
            heard.waiting.lock().expect("nobody panics with it").clear();
        });
        link
    }

    fn hear(&self, message: &Value) {
        if message["method"] == "log.entryAdded" {
            let entry = &message["params"];
            let level = entry["level"].as_str().unwrap_or_default();
            if matches!(level, "warn" | "error") {
                let context = entry["source"]["context"].as_str().unwrap_or_default().to_owned();
                let text = entry["text"].as_str().unwrap_or_default();
                let kind = entry["type"].as_str().unwrap_or_default();
                let mut said = self.said.lock().expect("nobody panics with it");
                said.push((context, format!("{kind} {level}: {text}")));
            }
        }
        let Some(id) = message["id"].as_u64() else { return };
        let waiting = self.waiting.lock().expect("nobody panics with it").remove(&id);
        let answer = match message["type"].as_str() {
            Some("success") => Ok(message["result"].clone()),
            _ => Err(message.to_string()),
        };
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// Sends a command, and waits for its answer.
    async fn say(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.waiting.lock().expect("nobody panics with it").insert(id, tell);
        let command = json!({ "id": id, "method": method, "params": params }).to_string();
        let gone = "the browser has ended";
        self.commands.send(Message::text(command)).map_err(|_| gone)?;
        told.await.map_err(|_| gone)?
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let said = timeout(LONG, self.say(method, params)).await;
        let said = said.unwrap_or_else(|_| panic!("{method} is not answered"));
        said.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

/// The driver of a Chromium, and the address of that.
async fn chromium(profile: &Path) -> (Child, String) {
    let (driver, address) = chromium::driver().await;
    let url = format!("{address}/session");
    let options = chromium::options(profile);
    let wanted = json!({ "webSocketUrl": true, "goog:chromeOptions": options });
    let body = json!({ "capabilities": { "alwaysMatch": wanted } }).to_string();
    let request = Request::builder().method(Method::POST).uri(url);
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = timeout(LONG, client.request(request)).await.expect("it answers");
    let answer = answer.expect("it answers").into_body().collect().await.expect("all of it");
    let answer: Value = serde_json::from_slice(&answer.to_bytes()).expect("it is JSON");
    let address = answer["value"]["capabilities"]["webSocketUrl"].as_str();
    let address = address.unwrap_or_else(|| panic!("chromium: {answer}; {}", chromium::NEEDED));
    (driver, address.to_owned())
}

/// A Firefox, and its address.
async fn firefox(profile: &Path) -> (Child, String) {
    let settings = FIREFOX_SETTINGS.map(|line| format!("user_pref({line});\n")).concat();
    std::fs::write(profile.join("user.js"), settings).expect("it can be written");
    let program = ["firefox-esr", "firefox"].into_iter().find_map(|name| {
        let spawned = Command::new(name)
            .args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"])
            .arg(profile)
            // Where it keeps what belongs to no profile.
            .env("HOME", profile)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        spawned.ok()
    });
    let mut process = program.expect("this test needs the Debian package `firefox-esr`");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let begin = "WebDriver BiDi listening on ";
    let address = timeout(LONG, async {
        loop {
            let line = lines.next_line().await.expect("it is text").expect("firefox goes on");
            if let Some(address) = line.strip_prefix(begin) {
                break format!("{address}/session");
            }
        }
    });
    let address = address.await.expect("firefox listens");
    // Read on, since a process that prints to nobody is killed on some systems.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, address)
}

/// Nothing is fetched but from the tests.
const FIREFOX_SETTINGS: [&str; 8] = [
    r#""app.normandy.enabled", false"#,
    r#""app.update.disabledForTesting", true"#,
    r#""browser.safebrowsing.downloads.remote.enabled", false"#,
    r#""datareporting.policy.dataSubmissionEnabled", false"#,
    r#""network.captive-portal-service.enabled", false"#,
    r#""network.connectivity-service.enabled", false"#,
    r#""network.proxy.type", 0"#,
    r#""services.settings.server", "data:,#remote-settings-dummy/v1""#,
];

/// Of this process: each has a profile of its own.
static BROWSERS: AtomicUsize = AtomicUsize::new(0);
