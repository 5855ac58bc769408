//! Even spreading, so that many streams do not do the same thing at the same moment.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A place between zero and one, given to the n-th of many that are to be spread out.
///
/// Places are multiples of an irrational number, without the whole part: the first n of them are
/// spread evenly for any n, which random numbers are not. A stream's end and its client's return
/// use two numbers that do not follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread(u64);

impl Spread {
    /// When the n-th stream ends within a drain's window.
    pub(crate) fn in_window(n: u64) -> Self {
        Self(n.wrapping_mul(GOLDEN))
    }

    /// The place in `span`, always before its end.
    #[inline]
    pub(crate) fn of(self, span: Duration) -> Duration {
        if span.is_zero() {
            return span;
        }
        let nanos = span.as_nanos().min(u128::from(u64::MAX));
        Duration::from_nanos(((nanos * u128::from(self.0)) >> 64) as u64)
    }
}

/// How long a client is to wait before it comes back: one of the steps of a range, and so what is
/// said to thousands is written once a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    steps: Steps,
    step: u16,
}

impl Retry {
    /// The n-th of many that are spread over `range`.
    #[inline]
    pub(crate) fn nth(n: u64, range: &RangeInclusive<Duration>) -> Self {
        let step = n.wrapping_mul(PLASTIC) >> (u64::BITS - STEP_BITS);
        Self { steps: Steps::of(range), step: step as u16 }
    }

    /// How long the n-th is to wait who is told in words of its own: no step of the range, but any
    /// time of it.
    pub(crate) fn alone(n: u64, range: &RangeInclusive<Duration>) -> Duration {
        Steps::of(range).at(Spread(n.wrapping_mul(PLASTIC)))
    }

    pub(crate) fn delay(&self) -> Duration {
        self.steps.delay(self.step())
    }

    #[inline]
    pub(crate) fn steps(&self) -> Steps {
        self.steps
    }

    /// Which of the steps it is.
    #[inline]
    pub(crate) fn step(&self) -> usize {
        self.step.into()
    }
}

/// A range of time in even steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    from: Duration,
    span: Duration,
}

impl Steps {
    /// Fine enough that clients of one step are not many.
    pub(crate) const COUNT: usize = 1 << STEP_BITS;

    #[inline]
    fn of(range: &RangeInclusive<Duration>) -> Self {
        Self { from: *range.start(), span: range.end().saturating_sub(*range.start()) }
    }

    /// How long the given step is.
    pub(crate) fn delay(self, step: usize) -> Duration {
        self.at(Spread((step as u64) << (u64::BITS - STEP_BITS)))
    }

    fn at(self, place: Spread) -> Duration {
        self.from + place.of(self.span)
    }
}

const STEP_BITS: u32 = 10;

/// The golden ratio, which spreads most evenly, and the inverse square of the plastic number; both
/// as fractions of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const PLASTIC: u64 = 0x91E1_0DA5_C79E_7B1D;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_places_is_spread_evenly() {
        for n in [10, 100, 1_000, 10_000] {
            let tens = Duration::ZERO..=Duration::from_secs(10);
            let ends = |i| Spread::in_window(i).of(*tens.end());
            let alone = |i| Retry::alone(i, &tens);
            let returns = |i| Retry::nth(i, &tens).delay();
            // A tenth of the steps is 102 or 103 of them.
            let places: [(&dyn Fn(u64) -> Duration, u64); 3] =
                [(&ends, 4), (&alone, 4), (&returns, 4 + n / 500)];
            for (place, bound) in places {
                let mut tenths = [0_u64; 10];
                for i in 0..n {
                    let at = place(i);
                    tenths[usize::try_from(at.as_secs()).unwrap()] += 1;
                }
                let (least, most) = (tenths.iter().min().unwrap(), tenths.iter().max().unwrap());
                assert!(most - least <= bound, "{n} places: {tenths:?}");
            }
        }
    }

    #[test]
    fn a_place_is_never_at_the_end() {
        assert!(Spread(u64::MAX).of(Duration::MAX) < Duration::MAX);
        assert_eq!(Spread(u64::MAX).of(Duration::ZERO), Duration::ZERO);
    }
}
