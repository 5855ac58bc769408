//! A log in memory, against a list of everything that ever was.

use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, MemoryFollower, MemoryLog, Start, Step, Topics};

use crate::harness::hub::{data, next, topic};

const NAMES: [&str; 4] = ["a", "b", "c.1", "c.2"];
const SETS: [&[&str]; 7] =
    [&["a"], &["b"], &["a", "b"], &["c.*"], &["a", "c.>"], &[">"], &["a", "*", "c.1"]];
const KEPT: usize = 3;

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Live(usize),
    Earliest(usize),
    /// Behind one of all events that ever were.
    After(usize, prop::sample::Index),
    /// So many polls of one of the followers.
    Poll(prop::sample::Index, usize),
    Leave(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0..NAMES.len()).prop_map(Act::Append),
        1 => (0..SETS.len()).prop_map(Act::Live),
        1 => (0..SETS.len()).prop_map(Act::Earliest),
        2 => (0..SETS.len(), any()).prop_map(|(set, at)| Act::After(set, at)),
        6 => (any(), 1..6_usize).prop_map(|(at, times)| Act::Poll(at, times)),
        1 => any().prop_map(Act::Leave),
    ]
}

/// Everything that ever was: its topic and its id.
#[derive(Default)]
struct Model {
    all: Vec<(usize, EventId)>,
}

impl Model {
    /// The events of a set behind `from`, and whether each is still kept.
    fn of<'a>(&'a self, set: &'a Topics, from: usize) -> impl Iterator<Item = (usize, bool)> + 'a {
        let of_set = move |at: &usize| set.matches(&topic(NAMES[self.all[*at].0]));
        (from..self.all.len()).filter(of_set).map(|at| (at, self.is_kept(at)))
    }

    fn is_kept(&self, at: usize) -> bool {
        let same = |it: &&(usize, EventId)| it.0 == self.all[at].0;
        self.all[at + 1..].iter().filter(same).count() < KEPT
    }
}

struct Reader {
    set: Topics,
    follower: MemoryFollower,
    /// Of the list: all before are given or known to be lost.
    next: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_in_memory_gives_what_a_list_of_everything_would(acts in vec(act(), 1..120)) {
        let log = MemoryLog::builder().events(KEPT).build().unwrap();
        let mut model = Model::default();
        let mut readers: Vec<Reader> = Vec::new();
        let sets = SETS.map(|names| Topics::new(names).unwrap());
        for act in acts {
            match act {
                Act::Append(name) => {
                    let text = model.all.len().to_string();
                    let id = log.append_now(&topic(NAMES[name]), data(text)).unwrap();
                    model.all.push((name, id));
                }
                Act::Live(set) => {
                    let (set, next) = (sets[set].clone(), model.all.len());
                    let follower = log.follow(set.clone(), Start::Live);
                    readers.push(Reader { set, follower, next });
                }
                Act::Earliest(set) => {
                    let set = sets[set].clone();
                    let follower = log.follow(set.clone(), Start::Earliest);
                    // What is trimmed already was not asked for: this begins as behind a gap.
                    let mut reader = Reader { set, follower, next: 0 };
                    check_kept(&mut reader, &model)?;
                    readers.push(reader);
                }
                Act::After(set, at) if !model.all.is_empty() => {
                    let (set, at) = (sets[set].clone(), at.index(model.all.len()));
                    let from = Start::After(model.all[at].1.clone());
                    let follower = log.follow(set.clone(), from);
                    readers.push(Reader { set, follower, next: at + 1 });
                }
                Act::Poll(at, times) if !readers.is_empty() => {
                    let at = at.index(readers.len());
                    for _ in 0..times {
                        check(&mut readers[at], &model)?;
                    }
                }
                Act::Leave(at) if !readers.is_empty() => {
                    drop(readers.swap_remove(at.index(readers.len())));
                }
                _ => {}
            }
        }
        for reader in &mut readers {
            while check(reader, &model)? {}
        }
    }
}

/// Polls once, and compares with what the list says. Says whether there was anything.
fn check(reader: &mut Reader, model: &Model) -> Result<bool, TestCaseError> {
    match next(&mut reader.follower) {
        None => {
            // Whatever it did not get it was told of, and nothing waits.
            prop_assert_eq!(model.of(&reader.set, reader.next).next(), None);
            Ok(false)
        }
        Some(Step::Event(event)) => {
            let at = model.all.iter().position(|it| it.1.as_str() == event.id()).unwrap();
            // Nothing in between, unless a gap was told.
            let expected = model.of(&reader.set, reader.next).next();
            prop_assert_eq!(expected.map(|it| it.0), Some(at));
            let bytes = format!("data: {at}\nid: {}\n\n", model.all[at].1);
            prop_assert_eq!(event.bytes(), &bytes);
            reader.next = at + 1;
            Ok(true)
        }
        Some(Step::Gap(gap)) => {
            // Only if something was lost, and never something that can still be had.
            let lost = model.of(&reader.set, reader.next).any(|it| !it.1);
            prop_assert!(lost);
            let kept = kept(reader, model);
            let id = |at: Option<&usize>| at.map(|at| model.all[*at].1.clone());
            prop_assert_eq!(gap.earliest, id(kept.first()));
            prop_assert_eq!(gap.latest, id(kept.last()));
            check_kept(reader, model)?;
            Ok(true)
        }
        Some(other) => panic!("{other:?}"),
    }
}

fn kept(reader: &Reader, model: &Model) -> Vec<usize> {
    let events = model.of(&reader.set, reader.next);
    events.filter(|it| it.1).map(|it| it.0).collect()
}

/// Behind a gap comes all that is kept, each once and in order.
fn check_kept(reader: &mut Reader, model: &Model) -> Result<(), TestCaseError> {
    for at in kept(reader, model) {
        match next(&mut reader.follower) {
            Some(Step::Event(event)) => prop_assert_eq!(event.id(), model.all[at].1.as_str()),
            other => panic!("no event but {other:?}"),
        }
    }
    prop_assert!(next(&mut reader.follower).is_none());
    reader.next = model.all.len();
    Ok(())
}
