//! Bytes that take one allocation, however many share them.

use bytes::Bytes;

/// Copies an event into `Bytes` that take one allocation, if it is not very long.
///
/// `Bytes` of a vector take a second one, for the count of those who share them. So the bytes are put
/// beside that count, into the smallest of these sizes that holds them, of which there are four to a
/// doubling: a fifth of it is empty at most.
pub(super) fn packed(event: &[u8]) -> Bytes {
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
        1793..=LONGEST => Packed::<LONGEST>::share(event),
        _ => Bytes::copy_from_slice(event),
    }
}

struct Packed<const SIZE: usize> {
    len: usize,
    bytes: [u8; SIZE],
}

impl<const SIZE: usize> Packed<SIZE> {
    // Each size by itself, so that no more of the stack is taken than for one.
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

/// Longer ones take two allocations: that costs less than to copy them twice.
pub(super) const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_are_what_they_were() {
        let event: Vec<u8> = (0..=u8::MAX).cycle().take(LONGEST + 10).collect();
        for len in 0..event.len() {
            let packed = packed(&event[..len]);
            assert_eq!(packed.clone(), event[..len]);
            drop(packed);
        }
    }
}
