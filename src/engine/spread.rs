//! Even spreading, so that many streams do not do the same thing at the same moment.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A place between zero and one, for the `n`-th of many that are spread out.
///
/// Places are the fractional parts of the multiples of an irrational number. The first n of them
/// are spread evenly for any n, which random numbers are not. A stream's end and its client's
/// return use two such numbers that do not follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread(u64);

impl Spread {
    /// The place of the `n`-th stream's end.
    pub(crate) fn nth(n: u64) -> Self {
        Self(n.wrapping_mul(GOLDEN))
    }

    /// The place of the `n`-th client's return.
    pub(crate) fn nth_return(n: u64) -> Self {
        Self(n.wrapping_mul(PLASTIC))
    }

    /// The place in `range`, always before its end.
    #[inline]
    pub(crate) fn within(self, range: &RangeInclusive<Duration>) -> Duration {
        *range.start() + self.of(range.end().saturating_sub(*range.start()))
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

/// How long a client is to wait before it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    delay: Duration,
    /// Which of the steps of a range it is. What is sent to thousands is encoded once for each
    /// step.
    step: Option<u16>,
}

impl Retry {
    /// How many steps a range has: fine enough that clients of one step are few.
    pub(crate) const STEPS: usize = 1 << STEP_BITS;

    /// This delay, for one client.
    pub(crate) fn after(delay: Duration) -> Self {
        Self { delay, step: None }
    }

    /// A step of `range` for the `n`-th of many clients.
    #[inline]
    pub(crate) fn nth(n: u64, range: &RangeInclusive<Duration>) -> Self {
        let step = n.wrapping_mul(PLASTIC) >> (u64::BITS - STEP_BITS);
        let delay = Spread(step << (u64::BITS - STEP_BITS)).within(range);
        Self { delay, step: u16::try_from(step).ok() }
    }

    pub(crate) fn delay(self) -> Duration {
        self.delay
    }

    pub(crate) fn step(self) -> Option<usize> {
        self.step.map(usize::from)
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
            let range = Duration::ZERO..=Duration::from_secs(10);
            let ends = |i| Spread::nth(i).of(*range.end());
            let returns = |i| Spread::nth_return(i).within(&range);
            let steps = |i| Retry::nth(i, &range).delay();
            // A tenth of the steps is 102 or 103 of them.
            let places: [(&dyn Fn(u64) -> Duration, u64); 3] =
                [(&ends, 4), (&returns, 4), (&steps, 4 + n / 500)];
            for (place, bound) in places {
                let mut tenths = [0_u64; 10];
                for i in 0..n {
                    tenths[usize::try_from(place(i).as_secs()).unwrap()] += 1;
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
