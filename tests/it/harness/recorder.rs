//! A recorder of the `metrics` facade that a test can read.

use std::collections::BTreeMap;
use std::mem::take;

use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// What was recorded so far, by name and label: `name` or `name{label=value}`.
#[derive(Debug)]
pub struct Recorded {
    snapshotter: Snapshotter,
    pub numbers: BTreeMap<String, f64>,
    pub histograms: BTreeMap<String, Vec<f64>>,
}

impl Recorded {
    /// By `recorder`, which records on this thread as long as the guard lives.
    pub fn by(recorder: &DebuggingRecorder) -> (Self, LocalRecorderGuard<'_>) {
        let snapshotter = recorder.snapshotter();
        let empty = Self { snapshotter, numbers: BTreeMap::new(), histograms: BTreeMap::new() };
        (empty, metrics::set_default_local_recorder(recorder))
    }

    /// Reads the recorder, which empties it: so all that it has is added.
    pub fn read(&mut self) -> &mut Self {
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let key = key.key();
            let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
            let name = match labels.collect::<Vec<_>>() {
                labels if labels.is_empty() => key.name().to_owned(),
                labels => format!("{}{{{}}}", key.name(), labels.join(",")),
            };
            let number = self.numbers.entry(name.clone());
            match value {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "the tests count to a few thousands"
                )]
                DebugValue::Counter(more) => *number.or_default() += more as f64,
                DebugValue::Gauge(more) => *number.or_default() += more.into_inner(),
                DebugValue::Histogram(values) => {
                    let values = values.iter().map(|value| **value);
                    self.histograms.entry(name).or_default().extend(values);
                }
            }
        }
        self
    }

    /// A counter or a gauge of the crate's, by its name behind `tower_sse_`.
    pub fn number(&self, name: &str) -> f64 {
        self.numbers.get(&format!("tower_sse_{name}")).copied().unwrap_or_default()
    }

    /// The seconds in a histogram of the crate's, which are taken away.
    pub fn seconds(&mut self, name: &str) -> Vec<f64> {
        self.histograms.get_mut(&format!("tower_sse_{name}_seconds")).map(take).unwrap_or_default()
    }

    /// The reasons by which something is counted, and how often.
    pub fn by_reason(&self, name: &str) -> Vec<(&str, f64)> {
        let start = format!("tower_sse_{name}{{reason=");
        let reason = |name: &'_ str| name.strip_prefix(&start)?.strip_suffix('}').map(str::len);
        let mut reasons = Vec::new();
        for (name, count) in &self.numbers {
            if let (Some(len), true) = (reason(name), *count > 0.0) {
                reasons.push((&name[start.len()..start.len() + len], *count));
            }
        }
        reasons
    }
}
