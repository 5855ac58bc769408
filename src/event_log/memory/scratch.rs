//! Room in which an event is written before it is known how long it is.

use std::cell::Cell;
use std::mem;

use bytes::Bytes;

use super::packed::{LONGEST, packed};
use crate::wire::{Event, end_with_id};

/// Room in which an event is written, used again by the thread's next one.
#[derive(Debug)]
pub(super) struct Scratch(Vec<u8>);

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Writes an event up to its id, for which there is to be so much room. None if it has no data.
    pub(super) fn write(event: &Event, room: usize) -> Option<Self> {
        // Taken, and not borrowed: who is woken by an event may publish another. There is none if
        // the thread is about to end.
        let mut scratch = Self(ROOM.try_with(Cell::take).unwrap_or_default());
        event.encode_unended_into(room, &mut scratch.0).then_some(scratch)
    }

    /// Ends the event with an id, and gives it to be shared. Nothing is left.
    pub(super) fn finish(&mut self, id: &[&str]) -> Bytes {
        end_with_id(&mut self.0, id);
        if self.0.len() > LONGEST {
            let mut own = mem::take(&mut self.0);
            // It stays for as long as the event does.
            own.shrink_to_fit();
            return own.into();
        }
        let shared = packed(&self.0);
        self.0.clear();
        shared
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.clear();
        if self.0.capacity() <= KEPT {
            let room = mem::take(&mut self.0);
            // The thread may be about to end.
            let _ = ROOM.try_with(|kept| kept.set(room));
        }
    }
}

/// A thread keeps no more room than this: what was grown for a longer event that was refused is freed.
const KEPT: usize = 2 * LONGEST;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_written_at_the_same_time_do_not_mix() {
        let event = |text: &str| Event::new().data(text);
        let mut outer = Scratch::write(&event("outer"), 8).unwrap();
        let mut inner = Scratch::write(&event(&"x".repeat(3 * LONGEST)), 8).unwrap();
        assert!(Scratch::write(&Event::new(), 8).is_none());
        assert_eq!(outer.finish(&["1", "2"]), "data: outer\nid: 12\n\n");
        assert_eq!(inner.finish(&["3"]).len(), "data: \nid: 3\n\n".len() + 3 * LONGEST);
        drop((inner, outer));
        let mut next = Scratch::write(&event("next"), 8).unwrap();
        assert_eq!(next.finish(&["4"]), "data: next\nid: 4\n\n");
    }

    #[test]
    fn a_thread_keeps_little() {
        let long = Event::new().data("x".repeat(1 << 20));
        drop(Scratch::write(&long, 8));
        Scratch::write(&long, 8).unwrap().finish(&["1"]);
        assert!(ROOM.take().capacity() <= KEPT);
    }
}
