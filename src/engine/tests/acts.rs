//! What happens to a stream at random besides its chunks.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Act {
    Inject,
    Pass(u32),
}

pub(super) fn acts() -> impl Strategy<Value = Vec<(Index, Act)>> {
    let act = prop_oneof![Just(Act::Inject), (1..5_u32).prop_map(Act::Pass)];
    prop::collection::vec((any::<Index>(), act), 0..6)
}

impl Run {
    /// Does what is due at one of so many places, and returns how many events were accepted.
    pub(super) fn act(
        &mut self,
        acts: &[(Index, Act)],
        (place, places): (usize, usize),
        injected: &Event,
    ) -> u64 {
        let mut accepted = 0;
        for (_, act) in acts.iter().filter(|(at, _)| at.index(places) == place) {
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
}
