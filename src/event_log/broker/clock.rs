//! What this process knows of the last sequences of a log, and the clock of its broker as the
//! answers show it.

use std::sync::Mutex;
use std::time::Instant;

use crate::sync::lock;

/// The head of a log at one moment, and the clock of its broker.
#[derive(Clone, Copy, Debug)]
pub(in crate::event_log) struct LogHead {
    pub(in crate::event_log) epoch: u64,
    /// The sequence of the last event.
    pub(in crate::event_log) last_event: u64,
    /// A sequence that is not smaller, and after which the next event is.
    pub(in crate::event_log) sequence: u64,
    /// The clock of the broker, in microseconds.
    pub(in crate::event_log) clock: u64,
}

/// The head of a log as it was last seen, and when.
///
/// Sequences are at least the clock of the broker. So the least that it can show now is a position
/// before all events that are appended from now on, on any node. If the clock was set back,
/// sequences are ahead of it, and each is one more than the one before.
#[derive(Debug)]
pub(in crate::event_log) struct LogClock(Mutex<ClockReading>);

#[derive(Clone, Copy, Debug)]
struct ClockReading {
    /// The largest of each that was seen in the epoch, also if the server forgot them; and the
    /// clock as it was seen last.
    head: LogHead,
    read_at: Instant,
}

impl LogClock {
    pub(in crate::event_log) fn new() -> Self {
        let head = LogHead { epoch: 0, last_event: 0, sequence: 0, clock: 0 };
        Self(Mutex::new(ClockReading { head, read_at: Instant::now() }))
    }

    /// Notes what the broker answered just now.
    pub(in crate::event_log) fn set(&self, head: LogHead) {
        let mut reading = lock(&self.0);
        reading.note(head);
        reading.head.clock = head.clock;
        reading.read_at = Instant::now();
    }

    /// Notes an event that was read.
    pub(in crate::event_log) fn note_event(&self, epoch: u64, sequence: u64) {
        lock(&self.0).note(LogHead { epoch, last_event: sequence, sequence, clock: 0 });
    }

    pub(in crate::event_log) fn known(&self) -> LogHead {
        lock(&self.0).head
    }

    /// A position before all events that are appended after a time, unless the clock is set back.
    pub(in crate::event_log) fn earliest_after(&self, time: Instant) -> u64 {
        let reading = *lock(&self.0);
        let micros = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
        };
        let (before, since) = (micros(time, reading.read_at), micros(reading.read_at, time));
        // Two clocks differ by some seconds a day; this allows for more than a minute.
        let least = reading.head.clock.saturating_sub(before.saturating_add(before / 1000));
        least.saturating_add(since - since / 1000)
    }
}

impl ClockReading {
    fn note(&mut self, seen: LogHead) {
        let head = &mut self.head;
        if head.epoch != seen.epoch {
            (head.epoch, head.last_event, head.sequence) = (seen.epoch, 0, 0);
        }
        head.last_event = head.last_event.max(seen.last_event);
        head.sequence = head.sequence.max(seen.sequence);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_seen_once_is_known_though_the_server_forgot_it() {
        let clock = LogClock::new();
        let head =
            |epoch, sequence, clock| LogHead { epoch, last_event: sequence, sequence, clock };
        clock.set(head(7, 20, 1_000_000));
        clock.set(head(7, 10, 2_000_000));
        assert_eq!((clock.known().last_event, clock.known().clock), (20, 2_000_000));
        clock.note_event(7, 30);
        assert_eq!(clock.known().sequence, 30);
        clock.set(head(8, 5, 3_000_000));
        assert_eq!((clock.known().epoch, clock.known().last_event), (8, 5));
    }

    #[test]
    fn a_clock_that_shows_the_end_of_time_is_a_position_as_any_other() {
        let clock = LogClock::new();
        clock.set(LogHead { epoch: 7, last_event: 0, sequence: 0, clock: u64::MAX });
        let later = lock(&clock.0).read_at + Duration::from_secs(1);
        assert_eq!(clock.earliest_after(later), u64::MAX);
    }

    #[test]
    fn a_position_is_before_what_is_appended_later_however_long_ago_the_clock_was_read() {
        let clock = LogClock::new();
        let head = LogHead { epoch: 7, last_event: 0, sequence: 0, clock: 50_000_000_000 };
        clock.set(head);
        let (read_at, second) = (lock(&clock.0).read_at, Duration::from_secs(1));
        assert_eq!(clock.earliest_after(read_at), 50_000_000_000);
        assert_eq!(clock.earliest_after(read_at + second), 50_000_999_000);
        lock(&clock.0).read_at = read_at + second;
        assert_eq!(clock.earliest_after(read_at), 49_998_999_000);
    }
}
