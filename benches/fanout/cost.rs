//! Times, and what is made of them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// What each of two cost, turn by turn.
#[derive(Default)]
pub(crate) struct Turns(Vec<(f64, f64)>);

impl Turns {
    pub(crate) fn push(&mut self, turn: (f64, f64)) {
        self.0.push(turn);
    }

    /// The medians of both, and the least, the median and the greatest ratio of a turn.
    pub(crate) fn figures(&self) -> (f64, f64, [f64; 3]) {
        let sorted = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = self.0.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let (hub, other) = (sorted(|turn| turn.0), sorted(|turn| turn.1));
        let ratio = sorted(|(hub, other)| hub / other);
        let (middle, last) = (ratio.len() / 2, ratio.len() - 1);
        (hub[middle], other[middle], [ratio[0], ratio[middle], ratio[last]])
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
pub(crate) fn per_delivery(time: Duration, deliveries: usize) -> f64 {
    time.as_nanos() as f64 / deliveries as f64
}

/// The time that this thread was on a processor; the clock's where the system does not tell.
pub(crate) fn cpu() -> Duration {
    // The system counts a thread's time when it leaves the processor, and a few times a second.
    thread::sleep(Duration::from_micros(50));
    let tells = fs::read_to_string("/proc/thread-self/schedstat");
    let nanos = tells.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

thread_local! {
    static START: Instant = Instant::now();
}
