//! What is said to many clients, written once for each step of a `retry`.

use std::sync::OnceLock;

use bytes::Bytes;

use super::spread::{Retry, Steps};
use crate::wire::Stencil;

/// The texts of one farewell, one for each of the steps of a [`Retry`].
///
/// Clients that are told together have steps that lie far apart. So the texts lie close together, a
/// block of them in one piece of memory: one each, they cost a drain more time than all that it
/// does for a stream besides.
#[derive(Debug)]
pub(super) struct Texts {
    steps: Steps,
    blocks: [OnceLock<Block>; BLOCKS],
}

/// The texts of steps that follow one another, which are written when one of them is asked for.
#[derive(Debug)]
struct Block {
    texts: Bytes,
    ends: [u16; IN_BLOCK],
}

impl Texts {
    pub(super) fn of(steps: Steps) -> Self {
        Self { steps, blocks: [const { OnceLock::new() }; BLOCKS] }
    }

    /// Whether a text is short enough to be kept in so many versions.
    pub(super) fn keeps(stencil: &Stencil) -> bool {
        stencil.len() <= LONGEST
    }

    /// The text of this step, unless it is one of another range.
    pub(super) fn get(&self, retry: &Retry, stencil: &Stencil) -> Option<Bytes> {
        if retry.steps() != self.steps {
            return None;
        }
        let (block, n) = (retry.step() / IN_BLOCK, retry.step() % IN_BLOCK);
        let block = self.blocks[block].get_or_init(|| Block::of(self.steps, block, stencil));
        let start = if n == 0 { 0 } else { block.ends[n - 1] };
        Some(block.texts.slice(usize::from(start)..usize::from(block.ends[n])))
    }
}

impl Block {
    fn of(steps: Steps, block: usize, stencil: &Stencil) -> Self {
        let mut texts = Vec::with_capacity(IN_BLOCK * LONGEST);
        let mut ends = [0; IN_BLOCK];
        for (n, end) in ends.iter_mut().enumerate() {
            stencil.fill_into(&mut texts, Some(steps.delay(block * IN_BLOCK + n)), None);
            // There is room for all, by the bound on their length.
            *end = u16::try_from(texts.len()).unwrap_or(u16::MAX);
        }
        Self { texts: texts.into_boxed_slice().into(), ends }
    }
}

const BLOCKS: usize = Steps::COUNT / IN_BLOCK;

/// Few enough that to write them is nothing that a stream waits for, and blocks enough that threads
/// that count their users rarely meet at one of them.
const IN_BLOCK: usize = 32;

/// In bytes. What is longer is copied for each client: kept in so many versions, a page's fragment
/// would be megabytes.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{Event, LineEnd};

    #[test]
    fn each_step_is_told_what_would_be_written_for_it_alone() {
        let range = Duration::from_millis(5)..=Duration::from_secs(20);
        for end in LineEnd::ALL {
            let stencil = Stencil::of(&Event::new().data("x"), end);
            let texts = Texts::of(Retry::nth(0, &range).steps());
            let mut steps: Vec<_> = (0..5_000).map(|n| Retry::nth(n, &range)).collect();
            for retry in &steps {
                let alone = stencil.fill(Some(retry.delay()), None);
                assert_eq!(texts.get(retry, &stencil), Some(alone));
            }
            steps.sort_unstable_by_key(Retry::step);
            steps.dedup();
            assert_eq!(steps.len(), Steps::COUNT);
        }
    }

    #[test]
    fn a_step_of_another_range_is_not_told_what_is_not_its_own() {
        let retry = |most| Retry::nth(1, &(Duration::ZERO..=Duration::from_secs(most)));
        let stencil = Stencil::of(&Event::new().data("x"), LineEnd::Lf);
        let texts = Texts::of(retry(1).steps());
        assert!(texts.get(&retry(1), &stencil).is_some());
        assert_eq!(texts.get(&retry(2), &stencil), None);
    }

    #[test]
    fn the_longest_that_are_kept_have_room_and_a_page_is_not_kept() {
        let of = |len| Stencil::of(&Event::new().data("x".repeat(len)), LineEnd::CrLf);
        assert!(!Texts::keeps(&of(LONGEST)));
        let stencil = of(LONGEST - "data: \r\n\r\n".len());
        assert!(Texts::keeps(&stencil));
        let range = Duration::MAX..=Duration::MAX;
        let texts = Texts::of(Retry::nth(0, &range).steps());
        for retry in (0..5_000).map(|n| Retry::nth(n, &range)) {
            let alone = stencil.fill(Some(retry.delay()), None);
            assert_eq!(texts.get(&retry, &stencil), Some(alone));
        }
    }
}
