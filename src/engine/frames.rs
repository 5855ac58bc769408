//! Builds the frames to send from a chunk of the body and the held tail before it.

use bytes::{Bytes, BytesMut};

use crate::wire::{LineEnd, with_id_line};

/// The unfinished tail of a stream, held until its event is complete.
///
/// Large pieces are kept as they are, and small ones are copied together. Otherwise an event that
/// comes byte by byte would cost many times its length, and a few bytes would keep the whole buffer
/// alive that they came in.
#[derive(Debug, Default)]
pub(super) struct PendingTail {
    pieces: Vec<Bytes>,
    gathered: BytesMut,
    len: usize,
}

impl PendingTail {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < GATHER_BELOW {
            self.gathered.extend_from_slice(&piece);
            return;
        }
        self.flush();
        self.pieces.push(piece);
    }

    /// All pieces, in order.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.flush();
        self.pieces
    }

    pub(super) fn copy_to(&self, buffer: &mut Vec<u8>) {
        for piece in &self.pieces {
            buffer.extend_from_slice(piece);
        }
        buffer.extend_from_slice(&self.gathered);
    }

    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push(self.gathered.split().freeze());
        }
    }
}

/// Frames in order. The first has a field of its own, because mostly it is the only one.
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

/// Places a held tail and a chunk into frames, with lines added in between.
///
/// Bytes to which nothing is added pass as slices. A small event and its addition are copied into
/// one buffer, so that it leaves in one frame; a large one leaves as two frames, not copied.
#[derive(Debug)]
pub(super) struct FrameBuilder {
    chunk: Bytes,
    /// The beginning of the event that the chunk continues.
    tail: PendingTail,
    /// The offset in the chunk after what has been placed.
    from: usize,
    buffer: Vec<u8>,
    frames: Frames,
}

impl FrameBuilder {
    pub(super) fn new(chunk: Bytes, tail: PendingTail, frames: Frames) -> Self {
        Self { chunk, tail, from: 0, buffer: Vec::new(), frames }
    }

    pub(super) fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// A copy of the event whose beginning was held, up to `end` in the chunk.
    pub(super) fn event(&self, end: usize) -> Vec<u8> {
        let mut event = Vec::with_capacity(self.tail.len() + end);
        self.tail.copy_to(&mut event);
        event.extend_from_slice(&self.chunk[..end]);
        event
    }

    /// Ends the event whose beginning was held at `end`, so that it leaves whole.
    pub(super) fn join(&mut self, end: usize) {
        if !self.tail.is_empty() {
            self.place(end, &[]);
        }
    }

    /// Adds a line with an id before the blank line that begins at `blank` and ends at `end`.
    pub(super) fn stamp(&mut self, blank: usize, end: usize, id: &str, line_end: LineEnd) {
        self.place(blank, &[b"id: ", id.as_bytes(), line_end.as_str().as_bytes()]);
        self.buffer.extend_from_slice(&self.chunk[blank..end]);
        self.from = end;
    }

    /// Places the rest up to `end` and then `addition`, and returns the frames and the rest.
    pub(super) fn finish(mut self, end: usize, addition: &[u8]) -> (Frames, Bytes) {
        let rest = self.chunk.split_off(end);
        let untouched = self.buffer.is_empty() && self.tail.is_empty() && addition.is_empty();
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
        (self.frames, rest)
    }

    /// Places everything up to `end` and then `addition`.
    fn place(&mut self, end: usize, addition: &[&[u8]]) {
        let len = self.tail.len() + end - self.from;
        let tail = std::mem::take(&mut self.tail);
        let added = addition.iter().map(|part| part.len()).sum();
        if len + added <= COPY_LIMIT {
            self.reserve(len, added);
            tail.copy_to(&mut self.buffer);
            self.buffer.extend_from_slice(&self.chunk[self.from..end]);
        } else {
            self.flush();
            for piece in tail.into_pieces() {
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
            let rest = len.max(self.chunk.len() - self.from);
            self.buffer.reserve_exact(rest + addition * (rest / (len + "\n".len())).max(1));
        }
    }

    fn flush(&mut self) {
        self.frames.push(Bytes::from(std::mem::take(&mut self.buffer)));
    }
}

/// Adds an id line to one event before its blank line, which begins at `blank`. The end of a long
/// event is returned apart, to be sent in a frame of its own.
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

/// A piece costs its `Bytes` and the allocation that holds it; below this length a copy is cheaper.
const GATHER_BELOW: usize = 512;
