//! Questions to models, which the SDKs of OpenAI and Anthropic ask.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::LONG;
use super::sdk::{node, python};

pub const APIS: [&str; 3] = ["chat", "responses", "messages"];

/// What is asked, of whom, and with which settings of the SDK.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// One of [`APIS`].
    pub api: &'static str,
    pub url: String,
    pub key: &'static str,
    pub model: String,
    /// In milliseconds.
    pub timeout: u64,
    pub retries: u32,
}

impl Question {
    /// With a timeout that nothing reaches, and without retries.
    pub fn new(api: &'static str, url: &str, model: &str) -> Self {
        let (url, model) = (url.to_owned(), model.to_owned());
        Self { api, url, key: "large", model, timeout: 60_000, retries: 0 }
    }

    /// One of each API.
    pub fn of_each_api(url: &str, model: &str) -> Vec<Self> {
        APIS.map(|api| Self::new(api, url, model)).into()
    }
}

/// What an SDK made of an answer.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    pub text: String,
    /// Those of the events that the SDK gave.
    pub types: Vec<String>,
    /// The name of the exception.
    pub error: Option<String>,
    #[serde(default)]
    pub message: String,
    /// When the answer ended, in milliseconds of the Unix epoch.
    pub ended: f64,
}

impl Outcome {
    /// How long after `at` it ended, in milliseconds.
    pub fn ended_after(&self, at: SystemTime) -> f64 {
        self.ended - at.duration_since(UNIX_EPOCH).expect("it is later").as_secs_f64() * 1000.0
    }
}

/// The answers to some questions, on their way to the SDKs of one language.
#[derive(Debug)]
pub struct Answers {
    pub sdk: &'static str,
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Answers {
    /// Asks with the SDKs of each language.
    pub async fn ask(questions: &[Question]) -> [Self; 2] {
        let javascript = Self::of("javascript", node("llm.mjs"), questions);
        let python = Self::of("python", python("llm.py"), questions);
        tokio::join!(javascript, python).into()
    }

    async fn of(sdk: &'static str, mut command: Command, questions: &[Question]) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{sdk}: {error}"));
        let questions = serde_json::to_vec(questions).expect("it is JSON");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(&questions).await.expect("it reads");
        drop(stdin);
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { sdk, _child: child, lines }
    }

    /// Waits until the heads of all answers are there.
    pub async fn have_begun(&mut self) {
        assert_eq!(self.line().await, "all have begun");
    }

    /// In the order of the questions.
    pub async fn outcomes(&mut self) -> Vec<Outcome> {
        let line = match self.line().await {
            line if line == "all have begun" => self.line().await,
            line => line,
        };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.sdk))
    }

    async fn line(&mut self) -> String {
        let line = timeout(2 * LONG, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} says no more", self.sdk));
        line.expect("it can be read").unwrap_or_else(|| panic!("{} is gone", self.sdk))
    }
}

/// What each SDK made of each answer.
pub async fn outcomes_of(questions: &[Question]) -> HashMap<&'static str, Vec<Outcome>> {
    let [mut javascript, mut python] = Answers::ask(questions).await;
    let (javascript, python) = tokio::join!(javascript.outcomes(), python.outcomes());
    HashMap::from([("javascript", javascript), ("python", python)])
}
