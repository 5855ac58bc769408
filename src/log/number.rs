//! The numbers that ids are made of.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// A number that is written in the one way in which ids are: digits, and no zeros in front. So two ids
/// are the same if, and only if, they are written alike.
pub(super) fn number(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// A number that no other log and no earlier process has, as far as chance goes.
pub(super) fn random() -> u64 {
    // The keys are random; the clock is for platforms where they are less so.
    RandomState::new().hash_one(SystemTime::now())
}
