//! Bytes that are put together on the stack.

/// Bytes that are put together on the stack, if they are few: to count them first, for a vector that
/// they fill exactly, takes as long as to write them.
#[derive(Debug)]
pub(super) struct Short {
    bytes: [u8; MOST],
    /// With what had no room.
    len: usize,
}

impl Default for Short {
    fn default() -> Self {
        Self { bytes: [0; MOST], len: 0 }
    }
}

impl Short {
    pub(super) fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(part);
        }
        self.len = end;
    }

    /// What was pushed.
    ///
    /// # Errors
    ///
    /// How much it was, if there was no room for it.
    pub(super) fn filled(&self) -> Result<&[u8], usize> {
        self.bytes.get(..self.len).ok_or(self.len)
    }
}

/// Most farewells and many events are shorter.
const MOST: usize = 256;
