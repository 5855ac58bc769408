//! [`LogHealth`], which says whether a log reads what is appended at its broker.

use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;

use crate::sync::lock;

/// Whether a log reads what is appended at its broker, since when, and if not, why.
///
/// A log connects and appends although its user may not read, or its server has no room for one
/// more reader. Its followers would wait for ever; this says so. Show it in a health check of the
/// server. With the feature `tracing`, each change is an event, too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHealth {
    /// Whether the log reads. If not, followers wait, and get what they missed when it reads again.
    pub is_reading: bool,
    /// Since when that is so.
    pub since: SystemTime,
    /// The last error, if the log does not read.
    pub problem: Option<Box<str>>,
}

/// The health of a log, as its poller notes it.
#[derive(Debug)]
pub(super) struct HealthCell(Mutex<LogHealth>);

impl HealthCell {
    pub(super) fn new() -> Self {
        let health = LogHealth { is_reading: true, since: SystemTime::now(), problem: None };
        Self(Mutex::new(health))
    }

    pub(super) fn get(&self) -> LogHealth {
        lock(&self.0).clone()
    }

    pub(super) fn note_reading(&self) {
        self.note(None);
    }

    pub(super) fn note_problem(&self, problem: &dyn fmt::Display) {
        self.note(Some(problem.to_string().into()));
    }

    fn note(&self, problem: Option<Box<str>>) {
        let mut health = lock(&self.0);
        let is_reading = problem.is_none();
        let changes = health.is_reading != is_reading;
        if changes {
            (health.is_reading, health.since) = (is_reading, SystemTime::now());
        }
        #[cfg(feature = "tracing")]
        let news = changes.then(|| problem.clone());
        health.problem = problem;
        drop(health);
        #[cfg(feature = "tracing")]
        match news {
            Some(Some(problem)) => tracing::warn!(%problem, "a log cannot be read"),
            Some(None) => tracing::info!("a log is read again"),
            None => {}
        }
    }
}
