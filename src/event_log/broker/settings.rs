//! The settings that all logs of brokers have.

use std::time::Duration;

use super::WindowLimits;
use crate::InvalidSetting;

#[derive(Clone, Debug)]
pub(in crate::event_log) struct BrokerSettings {
    /// How many events of a topic the broker keeps.
    pub(in crate::event_log) events: usize,
    /// How long after its last event the broker keeps a topic.
    pub(in crate::event_log) idle: Duration,
    /// For how long the id of a message is taken.
    pub(in crate::event_log) duplicate_window: Duration,
    pub(in crate::event_log) append_timeout: Duration,
    pub(in crate::event_log) max_event_bytes: usize,
    /// What this process keeps of a topic.
    pub(in crate::event_log) window: WindowLimits,
}

impl BrokerSettings {
    pub(in crate::event_log) fn check(&self) -> Result<(), InvalidSetting> {
        let zero = "it must not be zero";
        let too_long = "it must be less than 100 years";
        let is_zero = |time: Duration| time.as_millis() == 0;
        check_all(&[
            ("events", self.events == 0, zero),
            ("events", is_too_many(self.events), TOO_MANY),
            ("window_events", self.window.events == 0, zero),
            ("window_bytes", self.window.bytes == 0, zero),
            ("max_event_bytes", self.max_event_bytes == 0, zero),
            ("idle", is_zero(self.idle), zero),
            ("idle", self.idle > MAX_TIME, too_long),
            ("append_timeout", is_zero(self.append_timeout), zero),
            ("duplicate_window", is_zero(self.duplicate_window), zero),
            ("duplicate_window", self.duplicate_window > MAX_TIME, too_long),
        ])
    }
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            events: 1024,
            idle: Duration::from_secs(24 * 60 * 60),
            duplicate_window: Duration::from_secs(2 * 60),
            append_timeout: Duration::from_secs(5),
            max_event_bytes: 1024 * 1024,
            window: WindowLimits { events: 1024, bytes: 1024 * 1024 },
        }
    }
}

/// Returns the first problem in a table of settings, whether each is invalid, and why.
pub(in crate::event_log) fn check_all(
    table: &[(&'static str, bool, &'static str)],
) -> Result<(), InvalidSetting> {
    match table.iter().find(|(_, is_invalid, _)| *is_invalid) {
        Some((setting, _, problem)) => Err(InvalidSetting::new(setting, problem)),
        None => Ok(()),
    }
}

/// Whether the numbers of brokers do not hold a count.
pub(in crate::event_log) fn is_too_many(count: usize) -> bool {
    i64::try_from(count).is_err()
}

pub(in crate::event_log) const TOO_MANY: &str = "it must be less than 2^63";

/// The numbers in which brokers count time do not hold many more years.
const MAX_TIME: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_broker_can_count_is_refused_by_name() {
        let default = BrokerSettings::default;
        for (settings, expected) in [
            (default(), None),
            (BrokerSettings { events: usize::MAX, ..default() }, Some("events")),
            (BrokerSettings { idle: Duration::MAX, ..default() }, Some("idle")),
            (
                BrokerSettings { duplicate_window: Duration::MAX, ..default() },
                Some("duplicate_window"),
            ),
        ] {
            let refused = settings.check().err();
            assert_eq!(refused.as_ref().map(InvalidSetting::setting), expected);
        }
    }
}
