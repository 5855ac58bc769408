use std::task::Wake;

use super::*;

fn insert<T>(roster: &Roster<T>, value: T) -> Registration<T> {
    roster.insert(|| true, |_| value).unwrap()
}

/// The values on the list, in the order of a walk.
fn walk<T: Copy>(roster: &Roster<T>) -> Vec<T> {
    let mut values = Vec::new();
    roster.visit(|_, value| {
        values.push(*value);
        Visit::Skip
    });
    values
}

/// How many slots there is memory for.
fn capacity<T>(roster: &Roster<T>) -> usize {
    roster.shards.iter().map(|shard| lock(&shard.slots).capacity()).sum()
}

#[test]
fn a_walk_comes_to_each_entry_once_in_the_order_of_arrival() {
    for most in [0, 1, 31, 32, 33, 2_048, 2_049, 5_000] {
        let roster = Roster::new();
        let all: Vec<_> = (0..most).map(|n| insert(&roster, n)).collect();
        assert!(walk(&roster).into_iter().eq(0..most));
        // Some leave, and as many come.
        let (leave, stay): (Vec<_>, Vec<_>) =
            all.into_iter().enumerate().partition(|(n, _)| n % 3 == 0);
        let left = leave.len();
        drop(leave);
        assert!(walk(&roster).into_iter().eq((0..most).filter(|n| n % 3 != 0)));
        let come: Vec<_> = (most..most + left).map(|n| insert(&roster, n)).collect();
        assert!(
            walk(&roster).into_iter().eq((0..most + left).filter(|n| *n >= most || n % 3 != 0))
        );
        drop((stay, come));
        assert!(walk(&roster).is_empty());
    }
}

/// Drops an entry and adds one when it is woken.
struct Replaces {
    roster: Arc<Roster<usize>>,
    held: Arc<Mutex<Vec<Option<Registration<usize>>>>>,
    position: usize,
}

impl Wake for Replaces {
    fn wake(self: Arc<Self>) {
        let replaced = lock(&self.held)[self.position].replace(insert(&self.roster, 0));
        drop(replaced);
    }
}

#[test]
fn entries_that_come_and_leave_during_a_walk_hide_no_other() {
    let roster = Arc::new(Roster::new());
    let held: Vec<_> = (0..10_000).map(|n| Some(insert(&roster, n))).collect();
    let held = Arc::new(Mutex::new(held));
    for (n, entry) in lock(&held).iter().flatten().enumerate() {
        // Each replaces an even one, before or after it in the walk.
        let position = n * 6_842 % 10_000;
        let (roster, held) = (Arc::clone(&roster), Arc::clone(&held));
        entry.register(&Arc::new(Replaces { roster, held, position }).into());
    }
    let mut visits = vec![0; 10_000];
    roster.visit(|_, n| {
        visits[*n] += 1;
        Visit::Wake
    });
    assert!(visits.iter().skip(1).all(|visits| *visits <= 1));
    assert!(visits.iter().skip(1).step_by(2).all(|visits| *visits == 1));
    assert_eq!(roster.len(), 10_000);
    lock(&held).clear();
    assert_eq!(roster.len(), 0);
}

#[test]
fn ids_are_running_numbers_that_find_their_entry_and_no_other() {
    let roster = Roster::new();
    let mut ids = Vec::new();
    let mut entries: Vec<_> = (1..=5_000_u64)
        .map(|n| {
            let note = |id: RosterId| {
                ids.push(id);
                n
            };
            Some(roster.insert(|| true, note).unwrap())
        })
        .collect();
    assert!(ids.iter().map(|id| id.as_u64()).eq(1..=5_000));
    for (n, entry) in entries.iter_mut().enumerate().filter(|(n, _)| n % 7 != 0) {
        assert_eq!(entry.take().unwrap().update(|value| *value), Some(n as u64 + 1));
    }
    let later: Vec<_> = (0..5_000).map(|_| insert(&roster, 0)).collect();
    let find = |id: u64| roster.visit_one(RosterId::from_u64(id), |n| (*n, Visit::Skip));
    for n in 1..=5_000 {
        assert_eq!(find(n), ((n - 1) % 7 == 0).then_some(n), "{n}");
    }
    for id in [0, 10_001, 1 << 38, (1 << 38) + 1, u64::MAX] {
        assert_eq!(find(id), None, "{id}");
    }
    drop(later);
}

#[test]
fn keys_go_round_after_four_billion_entries() {
    let mut slots = Slots::starting_at((1 << 32) - 3);
    let keys: Vec<_> = (0..6).map(|n| slots.insert(|number| (n, number)).unwrap()).collect();
    let first = (1 << 32) - 3;
    assert!(slots.remove(keys[1]).is_some() && slots.remove(keys[1]).is_none());
    for (n, key) in keys.iter().enumerate().filter(|(n, _)| *n != 1) {
        let value = (n, first + n as u64);
        assert_eq!(slots.get(*key).and_then(|slot| slot.value), Some(value));
        assert_eq!(slots.get_number(value.1).and_then(|slot| slot.value), Some(value));
        assert!(slots.get_number(value.1 + (1 << 32)).is_none());
    }
}

#[test]
fn memory_follows_what_is_open_and_not_the_peak() {
    let roster = Roster::new();
    let mut entries: Vec<_> = (0..100_000).map(|n| insert(&roster, n)).collect();
    assert!(capacity(&roster) < 120_000);
    // Evenly, so that the last ones are in slots of all ages.
    for keep in [50_000, 10_000, 1_000, 100, 1] {
        let every = entries.len() / keep;
        let mut n = 0;
        entries.retain(|_| {
            n += 1;
            n % every == 0
        });
        assert_eq!((entries.len(), roster.len()), (keep, keep));
        let room = capacity(&roster);
        assert!(room <= 2 * keep + 10 * SHARDS, "{room} slots for {keep} entries");
    }
    assert_eq!(entries[0].update(|n| *n), walk(&roster).first().copied());
    drop(entries);
    assert_eq!(roster.len(), 0);
    assert!(capacity(&roster) <= 8 * SHARDS);
}

#[test]
fn a_walk_after_a_peak_passes_no_more_slots_than_one_without() {
    let (fresh, after) = (Roster::new(), Roster::new());
    let _one = insert(&fresh, 0);
    let mut peak: Vec<_> = (0..100_000).map(|n| insert(&after, n % 99_999)).collect();
    // One of the last: with all the others before it.
    let _last = peak.pop().unwrap();
    drop(peak);
    assert_eq!((walk(&fresh), walk(&after)), (vec![0], vec![0]));
    let (fresh, after) = (capacity(&fresh), capacity(&after));
    assert!(after <= fresh + 8 * SHARDS, "{after} for {fresh}");
}

#[test]
fn streams_that_come_and_go_take_no_more_memory_than_those_that_are_open() {
    let roster = Roster::new();
    let stays = insert(&roster, 0);
    let mut open = std::collections::VecDeque::new();
    for n in 0..200_000 {
        open.push_back(insert(&roster, n));
        if open.len() > 10_000 {
            open.pop_front();
        }
    }
    assert!(capacity(&roster) < 14_000, "{}", capacity(&roster));
    assert_eq!(walk(&roster).len(), 10_001);
    drop(stays);
}
