//! Builds the frames that leave for one chunk that came.

use bytes::Bytes;

use super::hold::Held;
use crate::wire::{LineEnd, with_id_line};

/// Places what was held and a chunk into frames, with lines added in between.
///
/// Bytes to which nothing is added pass as slices. A small event and its addition are copied into
/// one buffer, so that it leaves in one frame; a large one leaves as two frames, not copied.
#[derive(Debug)]
pub(super) struct Assembly {
    chunk: Bytes,
    /// What came before the chunk, of the event that the chunk goes on with.
    held: Held,
    /// The offset in the chunk behind what has been placed.
    from: usize,
    buffer: Vec<u8>,
    frames: Frames,
}

/// Frames in order. The first is apart, because mostly it is the only one.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) first: Option<Bytes>,
    pub(super) rest: Vec<Bytes>,
}

impl Frames {
    pub(super) fn push(&mut self, frame: Bytes) {
        match self.first {
            _ if frame.is_empty() => {}
            None => self.first = Some(frame),
            Some(_) => self.rest.push(frame),
        }
    }
}

impl Assembly {
    pub(super) fn new(chunk: Bytes, held: Held) -> Self {
        Self { chunk, held, from: 0, buffer: Vec::new(), frames: Frames::default() }
    }

    pub(super) fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// A copy of the event that was held, up to `end` in the chunk.
    pub(super) fn event(&self, end: usize) -> Vec<u8> {
        let mut event = Vec::with_capacity(self.held.len() + end);
        self.held.copy_to(&mut event);
        event.extend_from_slice(&self.chunk[..end]);
        event
    }

    /// Ends the event that was held at `end`, so that it leaves whole.
    pub(super) fn join(&mut self, end: usize) {
        if !self.held.is_empty() {
            self.place(end, &[]);
        }
    }

    /// Adds a line with an id before the blank line that begins at `blank` and ends at `end`.
    pub(super) fn stamp(&mut self, blank: usize, end: usize, id: &str, line_end: &str) {
        self.place(blank, &[b"id: ", id.as_bytes(), line_end.as_bytes()]);
        self.buffer.extend_from_slice(&self.chunk[blank..end]);
        self.from = end;
    }

    /// Places the rest up to `end` and then `addition`, and gives the frames and the unplaced tail.
    pub(super) fn finish(mut self, end: usize, addition: &[u8]) -> (Frames, Bytes) {
        let tail = self.chunk.split_off(end);
        let untouched = self.buffer.is_empty() && self.held.is_empty() && addition.is_empty();
        match self.from {
            // Moved, not sliced: the first clone of some `Bytes` allocates.
            0 if untouched => self.frames.push(self.chunk),
            from if untouched => self.frames.push(self.chunk.slice(from..)),
            from if from == end => {
                self.buffer.extend_from_slice(addition);
                self.flush();
            }
            _ => {
                self.place(end, &[addition]);
                self.flush();
            }
        }
        (self.frames, tail)
    }

    /// Places everything up to `end` and then `addition`.
    fn place(&mut self, end: usize, addition: &[&[u8]]) {
        let len = self.held.len() + end - self.from;
        let held = std::mem::take(&mut self.held);
        let added = addition.iter().map(|part| part.len()).sum();
        if len + added <= COPY_LIMIT {
            self.reserve(len, added);
            held.copy_to(&mut self.buffer);
            self.buffer.extend_from_slice(&self.chunk[self.from..end]);
        } else {
            self.flush();
            for piece in held.into_pieces() {
                self.frames.push(piece);
            }
            self.frames.push(self.chunk.slice(self.from..end));
        }
        for part in addition {
            self.buffer.extend_from_slice(part);
        }
        self.from = end;
    }

    /// Makes room for an event of `len` bytes and its addition, and for the rest of the chunk if
    /// its events are alike. For one event the room is exact: then `Bytes` takes the buffer over
    /// without an allocation of its own.
    fn reserve(&mut self, len: usize, addition: usize) {
        if self.buffer.capacity() == 0 && len > 0 {
            let rest =
                self.held.len().max(len) + (self.chunk.len() - self.from).saturating_sub(len);
            self.buffer.reserve_exact(rest + addition * (rest / (len + "\n".len())).max(1));
        }
    }

    fn flush(&mut self) {
        self.frames.push(Bytes::from(std::mem::take(&mut self.buffer)));
    }
}

/// Gives an event an id line before its blank line, which begins at `blank`. Of a long event the end
/// is left over, which leaves in a frame of its own.
#[inline]
pub(super) fn stamp(event: &mut Bytes, blank: usize, id: &str, line_end: LineEnd) -> Option<Bytes> {
    if blank + b"id: ".len() + id.len() + line_end.as_str().len() <= COPY_LIMIT {
        *event = with_id_line(event, blank, id, line_end);
        return None;
    }
    let rest = with_id_line(&event[blank..], 0, id, line_end);
    event.truncate(blank);
    Some(rest)
}

/// Up to this length an event and its addition are copied into one frame; longer ones leave as two.
///
/// On a socket a second frame costs as much as copying 2 to 4 KiB (`cargo bench --bench crossover`
/// measures it). Short events leave in one frame in any case, which some clients count on.
pub(super) const COPY_LIMIT: usize = 4 * 1024;
