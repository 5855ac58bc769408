//! The entries of one shard, in the order of their numbers.

use std::task::Waker;

/// The entries of one shard, in the order of their numbers.
///
/// An entry that leaves makes its slot vacant. Vacant slots are removed when there are many of
/// them, so that slots, and the memory for them, are never more than about twice the entries.
#[derive(Debug)]
pub(super) struct Slots<T> {
    list: Vec<Slot<T>>,
    /// How many slots are not vacant.
    occupied: usize,
    /// The number of the next entry.
    next: u64,
}

#[derive(Debug)]
pub(super) struct Slot<T> {
    /// The lower half of the entry's number. The other half would be memory of every stream; the
    /// slots of a shard are never so many numbers apart that it matters.
    key: u32,
    pub(super) waker: Option<Waker>,
    /// `None` if the slot is vacant.
    pub(super) value: Option<T>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new(), occupied: 0, next: 0 }
    }

    /// The number of the next entry.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Adds an entry and returns its key. `None` if an entry is still there that was added four
    /// billion entries ago.
    pub(super) fn insert(&mut self, value: impl FnOnce(u64) -> T) -> Option<u32> {
        if self.list.len() == self.list.capacity() {
            let vacant = self.list.len() - self.occupied;
            if vacant * GROWTH > self.list.len() {
                self.list.retain(|slot| slot.value.is_some());
            } else {
                self.list.reserve_exact(self.list.len() / GROWTH + SPARE);
            }
        }
        if self.list.first().is_some_and(|oldest| self.age_of(oldest) == u32::MAX) {
            return None;
        }
        let key = key_of(self.next);
        self.list.push(Slot { key, waker: None, value: Some(value(self.next)) });
        self.next += 1;
        self.occupied += 1;
        Some(key)
    }

    /// The occupied slot with this key.
    pub(super) fn get(&mut self, key: u32) -> Option<&mut Slot<T>> {
        let age = self.age(key);
        let position = self.lower_bound(age);
        let slot = self.list.get_mut(position)?;
        (slot.key == key && slot.value.is_some()).then_some(slot)
    }

    /// The occupied slot of the entry with this number.
    pub(super) fn get_number(&mut self, number: u64) -> Option<&mut Slot<T>> {
        let age = self.next.checked_sub(number)?;
        // A key stands for one number among those of the last four billion entries.
        u32::try_from(age).ok()?;
        self.get(key_of(number))
    }

    /// Takes an entry out, to be dropped after the lock: that runs foreign code.
    pub(super) fn remove(&mut self, key: u32) -> Option<(T, Option<Waker>)> {
        let slot = self.get(key)?;
        let entry = slot.value.take().map(|value| (value, slot.waker.take()));
        self.occupied -= 1;
        if self.list.capacity() > 2 * (self.occupied + SPARE) {
            self.list.retain(|slot| slot.value.is_some());
            self.list.shrink_to(self.occupied + self.occupied / GROWTH + SPARE);
        }
        entry
    }

    /// Visits the entries whose numbers are in a range, and returns the number from which on there
    /// are more.
    pub(super) fn visit(
        &mut self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, &mut Option<Waker>, &mut T),
    ) -> Option<u64> {
        let next = self.next;
        // What is older than all slots begins at the first one.
        let age = u32::try_from(next - from.min(next)).unwrap_or(u32::MAX);
        let position = self.lower_bound(age);
        for Slot { key, waker, value } in self.list.get_mut(position..)? {
            let number = next - u64::from(age_at(next, *key));
            if number >= to {
                return Some(number);
            }
            if let Some(value) = value {
                visit(number, waker, value);
            }
        }
        None
    }

    /// How many entries ago the entry with this key was added: 1 for the last one.
    fn age(&self, key: u32) -> u32 {
        age_at(self.next, key)
    }

    fn age_of(&self, slot: &Slot<T>) -> u32 {
        self.age(slot.key)
    }

    /// The position of the first slot that is not older than `age`.
    fn lower_bound(&self, age: u32) -> usize {
        let as_index = |age: u32| usize::try_from(age).unwrap_or(usize::MAX);
        let Some(oldest) = self.list.first().map(|slot| self.age_of(slot)) else {
            return 0;
        };
        let Some(younger) = oldest.checked_sub(age) else {
            return 0;
        };
        // Ages differ by one at least from slot to slot. So this narrows it down to one slot where
        // none was removed, and to few for an entry that is old or young.
        let low = self.list.len().saturating_sub(as_index(age));
        let high = as_index(younger).min(self.list.len());
        let between = self.list.get(low..high).unwrap_or_default();
        low + between.partition_point(|slot| self.age_of(slot) > age)
    }

    #[cfg(test)]
    pub(super) fn starting_at(next: u64) -> Self {
        Self { next, ..Self::new() }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.list.capacity()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a key is the lower half of a number")]
const fn key_of(number: u64) -> u32 {
    number as u32
}

const fn age_at(next: u64, key: u32) -> u32 {
    key_of(next).wrapping_sub(key)
}

/// A full list grows by this part of it. Doubled, as vectors are, it would be a third empty on
/// average, which is memory of every stream. It is also the part that is worth a removal of vacant
/// slots.
const GROWTH: usize = 8;

/// How many slots a list grows by at least, and how many it keeps when it is empty.
const SPARE: usize = 4;
