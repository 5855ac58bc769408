//! Even spreading, so that many streams do not do the same thing at the same moment.

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

    /// When the n-th client comes back; apart from when its stream ended.
    pub(crate) fn in_retry(n: u64) -> Self {
        Self(n.wrapping_mul(PLASTIC))
    }

    /// The place in `span`, always before its end.
    pub(crate) fn of(self, span: Duration) -> Duration {
        let nanos = span.as_nanos().min(u128::from(u64::MAX));
        Duration::from_nanos(((nanos * u128::from(self.0)) >> 64) as u64)
    }

    /// The place between two durations.
    pub(crate) fn between(self, least: Duration, most: Duration) -> Duration {
        least + self.of(most.saturating_sub(least))
    }
}

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
            for place in [Spread::in_window, Spread::in_retry] {
                let mut tenths = [0_u64; 10];
                for i in 0..n {
                    let at = place(i).of(Duration::from_secs(10));
                    tenths[usize::try_from(at.as_secs()).unwrap()] += 1;
                }
                let (least, most) = (tenths.iter().min().unwrap(), tenths.iter().max().unwrap());
                assert!(most - least <= 4, "{n} places: {tenths:?}");
            }
        }
    }

    #[test]
    fn a_place_is_never_at_the_end() {
        assert!(Spread(u64::MAX).of(Duration::MAX) < Duration::MAX);
        assert_eq!(Spread(u64::MAX).of(Duration::ZERO), Duration::ZERO);
    }
}
