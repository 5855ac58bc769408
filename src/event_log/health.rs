//! [`LogHealth`], which says whether a log reads what is appended at its broker.

use std::fmt;
use std::mem::replace;
use std::sync::Mutex;
use std::time::SystemTime;

use super::Topic;
use crate::observe::{UnreadLog, log_cannot_be_read, log_is_read_again};
use crate::sync::lock;

/// Whether a log reads what is appended at its broker, since when, and if not, why.
///
/// A log connects and appends although its user may not read, or its server has no room for one
/// more reader. Its followers would wait for ever; this says so. Show it in a health check of the
/// server. Each change is an event with the feature `tracing`, and with the feature `metrics` a
/// gauge counts the logs that do not read: see [`observe`](crate::observe).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHealth {
    /// Whether the log reads. If not, followers wait, and get what they missed when it reads again.
    pub is_reading: bool,
    /// Since when that is so.
    pub since: SystemTime,
    /// The last error, if the log does not read.
    pub problem: Option<Box<str>>,
    /// Topics that are followed and that the broker refuses to read, with what it answered: the
    /// first 16 by their names. Their followers wait, and the log asks again; others do not wait
    /// for them.
    ///
    /// There are none in NATS, where all topics are one stream.
    pub refused_topics: Vec<(Topic, Box<str>)>,
}

impl LogHealth {
    fn since_now(problem: Option<Box<str>>) -> Self {
        let (is_reading, since) = (problem.is_none(), SystemTime::now());
        Self { is_reading, since, problem, refused_topics: Vec::new() }
    }
}

/// The health of a log, as its one reader notes it.
#[derive(Debug)]
pub(super) struct HealthCell {
    /// The word for the log in what is told of it.
    log: &'static str,
    health: Mutex<LogHealth>,
    /// While the log cannot be read.
    unread: Mutex<Option<UnreadLog>>,
}

impl HealthCell {
    pub(super) fn new(log: &'static str) -> Self {
        let health = Mutex::new(LogHealth::since_now(None));
        Self { log, health, unread: Mutex::default() }
    }

    pub(super) fn get(&self) -> LogHealth {
        lock(&self.health).clone()
    }

    pub(super) fn note_reading(&self) {
        if let Some(before) = self.note(None) {
            let _ended = lock(&self.unread).take();
            log_is_read_again(self.log, before.since.elapsed().unwrap_or_default());
        }
    }

    pub(super) fn note_problem(&self, problem: &dyn fmt::Display) {
        let problem: Box<str> = problem.to_string().into();
        if self.note(Some(problem.clone())).is_some() {
            // A recorder is foreign code, which runs under no lock.
            let unread = UnreadLog::new();
            let _ended = lock(&self.unread).replace(unread);
            log_cannot_be_read(self.log, &problem);
        }
    }

    /// Returns how it was before, if the log reads now and did not, or the other way round.
    fn note(&self, problem: Option<Box<str>>) -> Option<LogHealth> {
        let mut health = lock(&self.health);
        if health.is_reading == problem.is_none() {
            health.problem = problem;
            return None;
        }
        Some(replace(&mut health, LogHealth::since_now(problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_change_and_the_problem_is_the_last_one() {
        let health = HealthCell::new("test");
        let first = health.get();
        health.note_reading();
        assert_eq!(health.get(), first);
        health.note_problem(&"one");
        let ill = health.get();
        health.note_problem(&"another");
        let still_ill = health.get();
        assert_eq!((ill.is_reading, ill.problem.as_deref()), (false, Some("one")));
        assert_eq!((still_ill.since, still_ill.problem.as_deref()), (ill.since, Some("another")));
        health.note_reading();
        let well = health.get();
        assert!(well.is_reading && well.problem.is_none() && well.since >= ill.since);
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn a_log_is_counted_as_unread_until_it_is_read_again_or_dropped() {
        use metrics_util::debugging::{DebugValue, DebuggingRecorder};

        let recorder = DebuggingRecorder::new();
        let (mut unread, mut failures) = (0.0, 0);
        // A look empties the recorder.
        let mut counts = || {
            for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
                match (key.key().name(), value) {
                    ("tower_sse_unread_logs", DebugValue::Gauge(more)) => unread += more.0,
                    ("tower_sse_log_failures_total", DebugValue::Counter(more)) => failures += more,
                    other => panic!("{other:?}"),
                }
            }
            (unread, failures)
        };
        metrics::with_local_recorder(&recorder, || {
            let (one, other) = (HealthCell::new("test"), HealthCell::new("test"));
            one.note_problem(&"it is away");
            one.note_problem(&"it is still away");
            assert_eq!(counts(), (1.0, 1));
            other.note_problem(&"it is away");
            assert_eq!(counts(), (2.0, 2));
            one.note_reading();
            one.note_reading();
            assert_eq!(counts(), (1.0, 2));
            one.note_problem(&"it is away again");
            assert_eq!(counts(), (2.0, 3));
            drop((one, other));
            assert_eq!(counts(), (0.0, 3));
        });
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn a_log_that_cannot_be_read_is_told_once_and_so_is_its_return() {
        let told = Told::default();
        let writer = told.clone();
        let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let health = HealthCell::new("test");
            health.note_reading();
            health.note_problem(&"it is away");
            health.note_problem(&"it is still away");
            health.note_reading();
            health.note_reading();
        });
        let told = String::from_utf8(lock(&told.0).clone()).unwrap();
        let lines: Vec<_> = told.lines().map(str::trim).collect();
        let [ill, well] = lines[..] else { panic!("{told}") };
        let expected = "WARN tower_sse: a log cannot be read log=\"test\" problem=\"it is away\"";
        assert_eq!(ill, expected);
        let expected = "INFO tower_sse: a log is read again log=\"test\" unread_secs=";
        assert!(well.starts_with(expected), "{well}");
    }

    /// What is logged.
    #[cfg(feature = "tracing")]
    #[derive(Clone, Debug, Default)]
    struct Told(std::sync::Arc<Mutex<Vec<u8>>>);

    #[cfg(feature = "tracing")]
    impl std::io::Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
