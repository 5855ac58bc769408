//! Encodes events into one allocation each, however many followers share them.

use std::cell::Cell;
use std::mem;

use bytes::Bytes;

use crate::wire::{Event, end_with_id};

/// An event that is encoded up to its id, in a buffer that the thread's next event uses again.
///
/// The buffer is needed because the length of an event is known only when it is written.
#[derive(Debug)]
pub(super) struct EncodedEvent(Vec<u8>);

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl EncodedEvent {
    /// Encodes an event up to its id, and reserves `room` bytes for that. Returns `None` if the
    /// event has no data.
    pub(super) fn new(event: &Event, room: usize) -> Option<Self> {
        // Taken, and not borrowed: a waker that an event wakes may publish another event. There is
        // no buffer if the thread is about to end.
        let mut encoded = Self(BUFFER.try_with(Cell::take).unwrap_or_default());
        event.encode_unended_into(room, &mut encoded.0).then_some(encoded)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends the event with an id, and empties the buffer.
    pub(super) fn finish(&mut self, id: &[&str]) -> Bytes {
        end_with_id(&mut self.0, id);
        if self.0.len() > MAX_PACKED_LEN {
            let mut own = mem::take(&mut self.0);
            // It stays for as long as the event does.
            own.shrink_to_fit();
            return own.into();
        }
        let packed = pack(&self.0);
        self.0.clear();
        packed
    }
}

impl Drop for EncodedEvent {
    fn drop(&mut self) {
        self.0.clear();
        if self.0.capacity() <= MAX_BUFFER {
            let buffer = mem::take(&mut self.0);
            // Fails if the thread is about to end.
            let _ = BUFFER.try_with(|kept| kept.set(buffer));
        }
    }
}

/// Copies an event into `Bytes` that take one allocation.
///
/// `Bytes` of a vector take a second allocation for their reference count. Here the bytes are
/// stored beside that count, in the smallest of these sizes that holds them. There are four sizes
/// to a doubling, so at most a fifth is unused.
fn pack(event: &[u8]) -> Bytes {
    match event.len() {
        0..=64 => Packed::<64>::share(event),
        65..=96 => Packed::<96>::share(event),
        97..=128 => Packed::<128>::share(event),
        129..=160 => Packed::<160>::share(event),
        161..=192 => Packed::<192>::share(event),
        193..=224 => Packed::<224>::share(event),
        225..=256 => Packed::<256>::share(event),
        257..=320 => Packed::<320>::share(event),
        321..=384 => Packed::<384>::share(event),
        385..=448 => Packed::<448>::share(event),
        449..=512 => Packed::<512>::share(event),
        513..=640 => Packed::<640>::share(event),
        641..=768 => Packed::<768>::share(event),
        769..=896 => Packed::<896>::share(event),
        897..=1024 => Packed::<1024>::share(event),
        1025..=1280 => Packed::<1280>::share(event),
        1281..=1536 => Packed::<1536>::share(event),
        1537..=1792 => Packed::<1792>::share(event),
        1793..=MAX_PACKED_LEN => Packed::<MAX_PACKED_LEN>::share(event),
        _ => Bytes::copy_from_slice(event),
    }
}

struct Packed<const SIZE: usize> {
    len: usize,
    bytes: [u8; SIZE],
}

impl<const SIZE: usize> Packed<SIZE> {
    // Not inlined, so that the stack holds one size and not all.
    #[inline(never)]
    fn share(event: &[u8]) -> Bytes {
        let mut packed = Self { len: event.len(), bytes: [0; SIZE] };
        packed.bytes[..event.len()].copy_from_slice(event);
        Bytes::from_owner(packed)
    }
}

impl<const SIZE: usize> AsRef<[u8]> for Packed<SIZE> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Longer events take two allocations, which costs less than to copy them twice.
const MAX_PACKED_LEN: usize = 2048;

/// A thread keeps no larger buffer: one that grew for a longer event is freed.
const MAX_BUFFER: usize = 2 * MAX_PACKED_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_of_every_length_are_the_bytes_of_the_event() {
        let event: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_PACKED_LEN + 10).collect();
        for len in 0..event.len() {
            let packed = pack(&event[..len]);
            assert_eq!(packed.clone(), event[..len]);
            drop(packed);
        }
    }

    #[test]
    fn events_that_are_encoded_at_the_same_time_do_not_mix() {
        let event = |text: &str| Event::new().data(text);
        let mut outer = EncodedEvent::new(&event("outer"), 8).unwrap();
        let mut inner = EncodedEvent::new(&event(&"x".repeat(3 * MAX_PACKED_LEN)), 8).unwrap();
        assert!(EncodedEvent::new(&Event::new(), 8).is_none());
        assert_eq!(outer.finish(&["1", "2"]), "data: outer\nid: 12\n\n");
        assert_eq!(inner.finish(&["3"]).len(), "data: \nid: 3\n\n".len() + 3 * MAX_PACKED_LEN);
        drop((inner, outer));
        let mut next = EncodedEvent::new(&event("next"), 8).unwrap();
        assert_eq!(next.finish(&["4"]), "data: next\nid: 4\n\n");
    }

    #[test]
    fn a_thread_keeps_a_small_buffer_only() {
        let long = Event::new().data("x".repeat(1 << 20));
        drop(EncodedEvent::new(&long, 8));
        EncodedEvent::new(&long, 8).unwrap().finish(&["1"]);
        assert!(BUFFER.take().capacity() <= MAX_BUFFER);
    }
}
