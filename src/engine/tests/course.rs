//! The course of a stream at random.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::support::{cut, cuts};

/// How the bytes of a stream are cut, what happens besides, and where the server ends it, if it
/// does.
#[derive(Clone, Debug)]
pub(super) struct Course {
    cuts: Vec<Index>,
    acts: Vec<(Index, Act)>,
    close: Option<Index>,
}

#[derive(Clone, Debug)]
enum Act {
    Inject,
    Pass(u32),
}

pub(super) fn course() -> impl Strategy<Value = Course> {
    let act = prop_oneof![Just(Act::Inject), (1..5_u32).prop_map(Act::Pass)];
    let acts = prop::collection::vec((any::<Index>(), act), 0..6);
    let course = (cuts(), acts, any::<Option<Index>>());
    course.prop_map(|(cuts, acts, close)| Course { cuts, acts, close })
}

impl Course {
    /// The chunks of a body, as far as it comes.
    pub(super) fn chunks(&self, body: &[u8]) -> Vec<Vec<u8>> {
        let mut chunks = cut(body, &self.cuts);
        if let Some(close) = self.close {
            chunks.truncate(close.index(chunks.len() + 1));
        }
        chunks
    }

    /// Whether the server ends the stream.
    pub(super) fn is_closed(&self) -> bool {
        self.close.is_some()
    }
}

impl Run {
    /// Takes the chunks and what happens besides. Returns how many of the events were accepted.
    pub(super) fn take_course(
        &mut self,
        course: &Course,
        chunks: &[Vec<u8>],
        injected: &Event,
    ) -> u64 {
        let mut accepted = 0;
        for at in 0..=chunks.len() {
            accepted += self.act(course, (at, chunks.len() + 1), injected);
            if let Some(chunk) = chunks.get(at) {
                self.data(chunk);
                let held = self.engine.cold.as_ref().map_or(0, |cold| cold.tail.len());
                let bound = self.settings.hold_limit.max("\u{feff}".len() - 1);
                assert!(held <= bound, "{held} bytes are held");
            }
        }
        accepted
    }

    /// Does what is due at one of so many places, and returns how many events were accepted.
    fn act(&mut self, course: &Course, (place, places): (usize, usize), injected: &Event) -> u64 {
        let mut accepted = 0;
        for (_, act) in course.acts.iter().filter(|(at, _)| at.index(places) == place) {
            match act {
                Act::Pass(halves) => self.pass(INTERVAL / 2 * *halves),
                Act::Inject => {
                    accepted += u64::from(self.engine.accepts_events());
                    self.inject(injected);
                }
            }
        }
        accepted
    }

    /// Comes to the end of the course.
    pub(super) fn end(&mut self, course: &Course) {
        if course.is_closed() {
            self.close(Farewell::close());
        } else {
            self.step(&End);
        }
        self.pass(INTERVAL);
        self.take(None);
        assert!(self.engine.ended().is_some(), "the stream is not over");
    }
}
