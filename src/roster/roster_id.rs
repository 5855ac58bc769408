//! The number of a stream's place on a roster.

use std::num::NonZeroU32;

/// Where a stream is on a roster; never given twice.
///
/// It is made of shard, slot, and a number that tells the slot's users apart; below two million
/// streams it fits into the 53 bits that a JavaScript number holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RosterId(u64);

impl RosterId {
    pub(crate) const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id of a slot, from its shard, its key there, and the number of its user.
    pub(super) const fn of(shard: usize, key: u32, number: NonZeroU32) -> Self {
        Self(((key as u64) << 38) | ((number.get() as u64) << SHARD_BITS) | shard as u64)
    }

    /// The same again: shard, key, and number.
    #[expect(clippy::cast_possible_truncation, reason = "each part was put there with fewer bits")]
    pub(super) const fn parts(self) -> (usize, usize, u32) {
        let shard = self.0 & ((1 << SHARD_BITS) - 1);
        (shard as usize, (self.0 >> 38) as usize, (self.0 >> SHARD_BITS) as u32)
    }
}

/// How many bits tell the shard.
pub(super) const SHARD_BITS: u32 = 6;
