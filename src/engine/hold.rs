//! The unfinished tail of a stream, kept back until its event is complete.

use bytes::{Bytes, BytesMut};

/// Bytes of one event, in the pieces in which they came.
///
/// Large pieces are kept as they are. Small ones are gathered: kept each by itself, an event that
/// comes byte by byte would cost many times its length, and a few bytes would keep the whole buffer
/// that they came in.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: Vec<Bytes>,
    gathered: BytesMut,
    len: usize,
}

impl Held {
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

/// A piece costs its `Bytes` and the allocation behind it; below this length a copy is cheaper.
const GATHER_BELOW: usize = 512;
