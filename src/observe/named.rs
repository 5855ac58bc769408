//! What is asked of a recorder, by name: each metric is described where it is made.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

/// A metric's name, and what it is in a few words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named(pub(super) &'static str, pub(super) &'static str);

impl Named {
    pub(super) fn gauge(self, recorder: &dyn Recorder) -> Gauge {
        recorder.describe_gauge(self.name(), Some(Unit::Count), self.1.into());
        recorder.register_gauge(&Key::from_static_name(self.0), &METADATA)
    }

    pub(super) fn counter(self, unit: Unit, recorder: &dyn Recorder) -> Counter {
        recorder.describe_counter(self.name(), Some(unit), self.1.into());
        recorder.register_counter(&Key::from_static_name(self.0), &METADATA)
    }

    /// A counter of those with one reason, which is a word of this crate's.
    pub(super) fn counter_by(self, reason: &'static str, recorder: &dyn Recorder) -> Counter {
        recorder.describe_counter(self.name(), Some(Unit::Count), self.1.into());
        let label = Label::from_static_parts("reason", reason);
        recorder.register_counter(&Key::from_parts(self.0, vec![label]), &METADATA)
    }

    pub(super) fn seconds(self, recorder: &dyn Recorder) -> Histogram {
        recorder.describe_histogram(self.name(), Some(Unit::Seconds), self.1.into());
        recorder.register_histogram(&Key::from_static_name(self.0), &METADATA)
    }

    fn name(self) -> KeyName {
        KeyName::from_const_str(self.0)
    }
}

const METADATA: Metadata<'_> = Metadata::new("tower_sse", Level::INFO, None);
