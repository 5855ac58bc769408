//! Splits a stream at the boundaries of its events: whole events leave, and the tail is held.

use bytes::{Buf, Bytes};

use super::EndReason;
use super::fast_path::{FastPath, Watch};
use super::frames::{FrameBuilder, Frames, PendingTail, stamp};
use super::numbering::Ids;
use crate::wire::{
    BlockId, EndedBlock, LineEnd, Notation, Scanner, blank_at_end, id_value, last_id, plain_event,
};
pub(super) use crate::wire::{are_lines, are_messages};

/// Where the bytes of a stream that have been sent end.
#[derive(Debug)]
pub(super) struct Splitter {
    scanner: Scanner,
    /// The last line end of an event stream, or LF before the first.
    line_end: LineEnd,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of an event stream has come, or only the beginning of a byte order mark.
    Fresh,
    /// What has been sent ends on a boundary.
    Whole,
    /// In the middle of a line or an event that is too long to hold: its bytes pass unheld.
    Flowing,
    Over(EndReason),
}

/// Where the server may write into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Here, and the stream may go on after it.
    Here,
    /// After a line end: a comment that is too long to hold is under way. It can be cut anywhere,
    /// but then the stream cannot go on.
    AfterLineEnd,
    /// Nowhere: an event that is too long to hold is under way, or the stream is over.
    None,
}

/// How far a chunk is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    End,
    /// A farewell waits for the first boundary. What comes after it in the chunk is dropped.
    FirstBoundary,
}

impl Splitter {
    /// A splitter for what comes after the bytes that `scanner` has read.
    pub(super) fn new(scanner: Scanner) -> Self {
        let stage = match scanner {
            Scanner::Events(_) => Stage::Fresh,
            _ if scanner.on_boundary() => Stage::Whole,
            _ => Stage::Flowing,
        };
        Self { scanner, line_end: LineEnd::default(), stage }
    }

    #[inline]
    pub(super) fn room(&self) -> Room {
        match self.stage {
            Stage::Fresh | Stage::Whole => Room::Here,
            Stage::Flowing if self.scanner.in_event() => Room::None,
            Stage::Flowing => Room::AfterLineEnd,
            Stage::Over(_) => Room::None,
        }
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self, reason: EndReason) {
        self.stage = Stage::Over(reason);
    }

    /// Why the stream is over, if it is.
    pub(super) fn reason(&self) -> Option<EndReason> {
        match self.stage {
            Stage::Over(reason) => Some(reason),
            Stage::Fresh | Stage::Whole | Stage::Flowing => None,
        }
    }

    /// Whether the stream is an event stream.
    pub(super) fn has_events(&self) -> bool {
        matches!(self.scanner, Scanner::Events(_))
    }

    /// Whether the next chunk begins on a boundary, so that a blank line at its end makes it whole.
    pub(super) fn is_clear(&self) -> bool {
        let clear = self.scanner.on_boundary() && !self.scanner.awaits_lf();
        clear && self.stage == Stage::Whole
    }

    /// How whole chunks pass.
    pub(super) fn path(&self, watch: Watch) -> FastPath {
        FastPath::of(&self.scanner, watch)
    }

    /// Whether an event has begun and not ended.
    pub(super) fn in_event(&self) -> bool {
        self.scanner.in_event()
    }

    /// Whether the stream's own last event was split off, after which nothing may follow.
    pub(super) fn is_over(&self) -> bool {
        self.scanner.is_over()
    }

    /// Whether the event that has begun may be the last one without an end.
    pub(super) fn may_end_here(&self) -> bool {
        self.scanner.may_end_here()
    }

    /// How the text of the server is written into the stream.
    #[inline]
    pub(super) fn notation(&self) -> Notation {
        self.scanner.notation(self.line_end)
    }

    /// How the lines of events end, as far as is known.
    #[inline]
    pub(super) fn line_end(&self) -> LineEnd {
        self.line_end
    }

    /// Passes a chunk of events that begins on a boundary without a scan, if its last bytes tell
    /// that it is whole.
    #[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
    #[inline(always)]
    pub(super) fn pass_events(&mut self, chunk: &[u8]) -> bool {
        let Some(line_end) = blank_at_end(chunk) else {
            return false;
        };
        self.line_end = line_end;
        true
    }

    /// Whether a chunk of lines or messages that begins on a boundary ends on one.
    #[inline]
    pub(super) fn is_whole(&self, chunk: &[u8]) -> bool {
        match self.scanner {
            Scanner::Lines(_) => are_lines(chunk),
            Scanner::Messages(..) => are_messages(chunk),
            Scanner::Events(_) | Scanner::Records(_) | Scanner::Text(_) => false,
        }
    }

    /// Passes a chunk that begins on a boundary and is one event with one line, as most are: to
    /// tell, one search for a line end is enough. Gives where its blank line begins.
    #[inline]
    pub(super) fn pass_plain_event(&mut self, chunk: &[u8]) -> Option<usize> {
        let (line_end, blank) = plain_event(chunk)?;
        self.line_end = line_end;
        Some(blank)
    }

    /// Takes a chunk and the tail that is held, and gives the frames that can be sent. What is held
    /// now is left in `tail`.
    pub(super) fn split(
        &mut self,
        chunk: Bytes,
        tail: &mut PendingTail,
        ids: &mut Ids<'_>,
        until: Until,
        mut frames: Frames,
    ) -> Frames {
        let Some(first) = self.scanner.next_boundary(&chunk, 0, &mut self.line_end) else {
            self.hold(chunk, tail, ids.settings.hold_limit, &mut frames);
            return frames;
        };
        // The beginning of an event that flowed is gone, so its lines cannot be read.
        let mut flowed = std::mem::replace(&mut self.stage, Stage::Whole) == Stage::Flowing;
        match first.block {
            // The usual case by itself: to take a chunk apart costs several times as much.
            Some(EndedBlock { blank, data: true, more: 0, id: BlockId::None })
                if first.end == chunk.len()
                    && tail.is_empty()
                    && !flowed
                    && !self.scanner.awaits_lf() =>
            {
                self.pass_sole_event(chunk, blank, ids, &mut frames);
                return frames;
            }
            _ => {}
        }
        let mut builder = FrameBuilder::new(chunk, std::mem::take(tail), frames);
        let (mut end, mut boundary) = (0, Some(first));
        while let Some(found) = boundary {
            end = found.end;
            if let Some(block) = found.block {
                self.pass_block(&mut builder, block, end, std::mem::take(&mut flowed), ids);
            }
            builder.join(end);
            boundary = match until {
                Until::FirstBoundary => None,
                Until::End => self.scanner.next_boundary(builder.chunk(), end, &mut self.line_end),
            };
        }
        let missing = self.missing_lf(builder.chunk(), end);
        let (mut frames, rest) = builder.finish(end, missing);
        if until == Until::End {
            self.hold(rest, tail, ids.settings.hold_limit, &mut frames);
        }
        frames
    }

    /// Passes a chunk that is one event with data and without an id.
    fn pass_sole_event(
        &self,
        mut event: Bytes,
        blank: usize,
        ids: &mut Ids<'_>,
        frames: &mut Frames,
    ) {
        let line_end = self.line_end;
        let rest = ids.pass_unnumbered().and_then(|id| {
            id.with_text(|id| stamp(&mut event, blank, id.unwrap_or_default(), line_end))
        });
        frames.push(event);
        if let Some(rest) = rest {
            frames.push(rest);
        }
    }

    /// Passes one block of the stream's own.
    fn pass_block(
        &self,
        builder: &mut FrameBuilder,
        block: EndedBlock,
        end: usize,
        flowed: bool,
        ids: &mut Ids<'_>,
    ) {
        for _ in 0..block.more {
            ids.pass_unnumbered();
        }
        match block.id {
            BlockId::None if block.data => {
                let line_end = self.line_end;
                if let Some(id) = ids.pass_unnumbered() {
                    id.with_text(|id| {
                        builder.stamp(block.blank, end, id.unwrap_or_default(), line_end);
                    });
                }
            }
            BlockId::None => {}
            BlockId::At(line) => {
                let id = id_value(&builder.chunk()[line..]);
                ids.pass_numbered(block.data, Some(id));
            }
            BlockId::Earlier if flowed => ids.pass_numbered(block.data, None),
            BlockId::Earlier => {
                let event = builder.event(block.blank);
                ids.pass_numbered(block.data, last_id(&event));
            }
        }
    }

    /// Holds the unfinished tail, or lets it flow if that would be too much.
    fn hold(&mut self, rest: Bytes, tail: &mut PendingTail, limit: usize, frames: &mut Frames) {
        if rest.is_empty() || self.is_over() {
            return;
        }
        if self.stage == Stage::Flowing {
            frames.push(rest);
            return;
        }
        tail.push(rest);
        if tail.len() > limit || self.scanner.wants_more_than(limit - tail.len()) {
            std::mem::take(tail).into_pieces().into_iter().for_each(|piece| frames.push(piece));
            self.stage = Stage::Flowing;
        }
    }

    /// A blank line whose LF is still to come leaves with an added LF, so that the event is whole
    /// for clients that look for `\r\n\r\n` as well. The late LF is dropped.
    fn missing_lf(&self, chunk: &[u8], end: usize) -> &'static [u8] {
        let awaits = end == chunk.len() && self.scanner.on_boundary() && self.scanner.awaits_lf();
        match self.line_end {
            LineEnd::CrLf if awaits => b"\n",
            _ => b"",
        }
    }

    /// Drops what must not be sent from the beginning of a chunk: the LF that belongs to a CR
    /// before it, after which something may have been written; and a leading byte order mark.
    ///
    /// After a comment a byte order mark would be part of the first field's name, and several
    /// clients lose the first event with it anyway.
    pub(super) fn trim(&mut self, mut chunk: Bytes, tail: &mut PendingTail) -> Trimmed {
        let mut mark = false;
        if self.stage == Stage::Fresh {
            if !tail.is_empty() {
                let mut whole = Vec::with_capacity(tail.len() + chunk.len());
                std::mem::take(tail).copy_to(&mut whole);
                whole.extend_from_slice(&chunk);
                chunk = Bytes::from(whole);
            }
            if chunk.len() < MARK.len() && MARK.starts_with(&chunk) {
                tail.push(chunk);
                return Trimmed { chunk: Bytes::new(), mark: false };
            }
            self.stage = Stage::Whole;
            mark = chunk.starts_with(MARK);
            if mark {
                chunk.advance(MARK.len());
            }
        }
        match self.scanner.events() {
            Some(scanner)
                if scanner.on_boundary() && scanner.awaits_lf() && chunk.starts_with(b"\n") =>
            {
                scanner.skip_lf();
                self.line_end = LineEnd::CrLf;
                chunk.advance(1);
            }
            _ => {}
        }
        Trimmed { chunk, mark }
    }
}

/// What is left of a chunk.
#[derive(Debug)]
pub(super) struct Trimmed {
    pub(super) chunk: Bytes,
    /// A byte order mark was dropped.
    pub(super) mark: bool,
}

const MARK: &[u8] = "\u{feff}".as_bytes();
