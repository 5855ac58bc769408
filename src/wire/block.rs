//! Short texts that are written one after another.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Has `write` write `len` bytes: beside what was written last on this thread, if they are few.
///
/// A drain writes a farewell for each of many streams, and an allocation for each would cost more
/// than the text. A farewell that is not sent yet keeps its block, so all of them together keep at
/// most what they took when they were written.
pub(super) fn beside(len: usize, write: impl Fn(&mut BytesMut)) -> Bytes {
    let apart = || {
        let mut bytes = BytesMut::with_capacity(len);
        write(&mut bytes);
        bytes.freeze()
    };
    if len > SHORT {
        return apart();
    }
    let written = BLOCK.try_with(|block| {
        let mut block = block.borrow_mut();
        if block.capacity() < len {
            *block = BytesMut::with_capacity(BLOCK_LEN);
        }
        write(&mut block);
        block.split().freeze()
    });
    // A thread that ends has no block any more.
    written.unwrap_or_else(|_| apart())
}

thread_local! {
    static BLOCK: RefCell<BytesMut> = RefCell::default();
}

/// Room for some twenty farewells; and as much as one that is not sent may keep.
const BLOCK_LEN: usize = 2048;

/// Longer ones leave too much of a block unused, and take longer to write than to allocate.
const SHORT: usize = BLOCK_LEN / 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stays_as_it_is() {
        let texts: Vec<String> = (0..500).map(|n| "x".repeat(n) + &n.to_string()).collect();
        let written: Vec<Bytes> = texts
            .iter()
            .map(|text| beside(text.len(), |out| out.extend_from_slice(text.as_bytes())))
            .collect();
        assert_eq!(written, texts);
    }
}
