//! Takes chunks that must be looked into.

use bytes::{Buf, Bytes};

use super::assembly::{Assembly, Frames, stamp};
use super::{Engine, Lane, Observation, Phase, Sent, Settings};
use crate::wire::{BlockId, Boundary, EndedBlock, LineEnd, Scanner};

impl<S: AsRef<Settings>> Engine<S> {
    /// Lets through what is whole, with its additions, and holds the rest.
    pub(super) fn scan(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        if let Phase::Over(_) = self.phase {
            return None;
        }
        if self.phase == Phase::Fresh {
            chunk = self.skip_mark(chunk);
        }
        if self.scanner.on_boundary() && self.scanner.awaits_lf() && chunk.starts_with(b"\n") {
            self.scanner.skip_lf();
            chunk.advance(1);
        }
        if chunk.is_empty() {
            return self.next();
        }

        self.lane = Lane::Scan;
        let Some(first) = self.scanner.next_boundary(&chunk, 0) else {
            let frames = self.keep(Frames::default(), chunk);
            return self.send(frames);
        };
        if self.stamp_alone(&mut chunk, first) {
            return Some(chunk);
        }
        if self.phase == Phase::Flowing {
            self.phase = Phase::Live;
        }
        let held =
            self.rare.as_mut().map(|rare| std::mem::take(&mut rare.held)).unwrap_or_default();
        let mut assembly = Assembly::new(chunk, held);
        // A close that waits for the end of a long event takes the first chance.
        let close_due = self.rare.as_ref().is_some_and(|rare| rare.close_due);
        let mut whole = 0;
        let mut boundary = Some(first);
        while let Some(found) = boundary {
            whole = found.end;
            if let Some(block) = found.block {
                self.pass(&mut assembly, block, whole);
            }
            assembly.join(whole);
            boundary = match close_due {
                true => None,
                false => self.scanner.next_boundary(assembly.chunk(), whole),
            };
        }
        let missing = self.missing_lf(assembly.chunk(), whole);
        let (frames, tail) = assembly.finish(whole, missing);
        if close_due {
            // The timeout is due, and is to be called before more data: it says the farewell. So
            // mail that waited for this boundary can be written before it.
            return self.send(frames);
        }
        let frames = self.keep(frames, tail);
        self.lane = self.next_lane();
        self.send(frames)
    }

    /// Gives an id to a chunk that is one event of one line: most events are, and to tell it takes
    /// one look for a line end. Says whether it was one.
    #[inline]
    pub(super) fn stamp_plain(&mut self, chunk: &mut Bytes) -> bool {
        let Some((line_end, blank)) = plain_event(chunk) else {
            return false;
        };
        self.scanner.set_line_end(line_end);
        self.stamp_whole(chunk, blank)
    }

    /// Gives an id to a chunk that is one event, and nothing else is about: the usual case by
    /// itself, since taking chunks apart in general costs several times as much.
    fn stamp_alone(&mut self, chunk: &mut Bytes, first: Boundary) -> bool {
        let alone = self.phase == Phase::Live
            && first.end == chunk.len()
            && !self.scanner.awaits_lf()
            && self.rare.as_ref().is_none_or(|rare| rare.is_idle());
        let stamped = match first.block {
            Some(EndedBlock { blank, data: true, id: BlockId::None }) if alone => {
                self.stamp_whole(chunk, blank)
            }
            _ => false,
        };
        if stamped {
            self.lane = self.next_lane();
        }
        stamped
    }

    /// Gives an id to one event, if ids are on.
    #[inline]
    fn stamp_whole(&mut self, event: &mut Bytes, blank: usize) -> bool {
        let Some(ids) = &self.settings.ids else {
            return false;
        };
        let line_end = self.scanner.line_end();
        let id = self.known.get_or_insert_default().number(ids);
        let rest = id.with_text(|id| stamp(event, blank, id.unwrap_or_default(), line_end));
        self.sent = Sent::Something;
        if let Some(rest) = rest {
            self.rare().queue.push_back(rest);
        }
        true
    }

    /// Passes one block of the stream's own.
    fn pass(&mut self, assembly: &mut Assembly, block: EndedBlock, end: usize) {
        match block.id {
            BlockId::None if block.data => {
                let line_end = self.scanner.line_end().as_str();
                if let Some(id) = self.pass_unnumbered() {
                    id.with_text(|id| {
                        assembly.stamp(block.blank, end, id.unwrap_or_default(), line_end);
                    });
                }
            }
            BlockId::None => {}
            BlockId::At(line) => {
                let id = id_value(&assembly.chunk()[line..]);
                self.pass_numbered(block.data, Some(id));
            }
            BlockId::Earlier => {
                let event = assembly.event(block.blank);
                self.pass_numbered(block.data, last_id(&event));
            }
        }
    }

    /// Holds the unfinished tail, or lets it flow if that would be too much.
    fn keep(&mut self, mut frames: Frames, tail: Bytes) -> Frames {
        if tail.is_empty() {
            return frames;
        }
        if self.phase == Phase::Flowing {
            frames.push(tail);
            return frames;
        }
        let limit = self.settings.hold_limit;
        let rare = self.rare();
        rare.held.push(tail);
        if rare.held.len() > limit {
            let held = std::mem::take(&mut rare.held);
            held.into_pieces().into_iter().for_each(|piece| frames.push(piece));
            self.phase = Phase::Flowing;
        }
        frames
    }

    fn send(&mut self, frames: Frames) -> Option<Bytes> {
        let Frames { first, rest } = frames;
        if first.is_some() {
            self.sent = Sent::Something;
        }
        // What is queued already is a comment in place of a byte order mark.
        let queued = self.rare.as_ref().is_some_and(|rare| !rare.queue.is_empty());
        if !queued && rest.is_empty() {
            return first;
        }
        let rare = self.rare();
        rare.queue.extend(first);
        rare.queue.extend(rest);
        self.lane = Lane::Scan;
        self.next()
    }

    /// A blank line whose LF is still to come leaves with one of ours, so that the event is whole
    /// for clients that look for `\r\n\r\n` as well. The late LF is swallowed.
    fn missing_lf(&self, chunk: &[u8], end: usize) -> &'static [u8] {
        let awaits = end == chunk.len() && self.scanner.on_boundary() && self.scanner.awaits_lf();
        match self.scanner.line_end() {
            LineEnd::CrLf if awaits => b"\n",
            _ => b"",
        }
    }

    fn next_lane(&self) -> Lane {
        let whole = self.phase == Phase::Live
            && self.scanner.on_boundary()
            && !self.scanner.awaits_lf()
            && !self.is_closing();
        match *self.settings {
            _ if !whole => Lane::Scan,
            Settings { ids: Some(_), .. } => Lane::Stamp,
            _ if self.is_watched() => Lane::Scan,
            Settings { noted: Observation::FirstEvent, .. } if self.events() == 0 => Lane::Scan,
            Settings { noted: Observation::Frames | Observation::FirstEvent, .. } => {
                Lane::Observation
            }
            _ if self.is_timed() => Lane::Timed,
            _ => Lane::Whole,
        }
    }

    /// Takes a leading byte order mark away.
    ///
    /// Behind a comment it would no longer be one, but part of the first field's name; and several
    /// clients lose the first event with it anyway. If nothing was written before it, a comment
    /// takes its place: of two marks the second must not become the leading one.
    fn skip_mark(&mut self, mut chunk: Bytes) -> Bytes {
        let came = self.rare.as_mut().map_or(0, |rare| std::mem::take(&mut rare.mark));
        if came > 0 {
            chunk = Bytes::from([&MARK[..came], &chunk[..]].concat());
        }
        if chunk.len() < MARK.len() && MARK.starts_with(&chunk) {
            if !chunk.is_empty() {
                self.rare().mark = chunk.len();
            }
            return Bytes::new();
        }
        self.phase = Phase::Live;
        if chunk.starts_with(MARK) {
            chunk.advance(MARK.len());
            if self.sent == Sent::Never {
                self.sent = Sent::Something;
                self.defer(Bytes::from_static(b":\n"));
            }
        }
        chunk
    }
}

/// How the lines of a chunk end that is one event with one line of data, and where its blank line
/// begins.
fn plain_event(chunk: &[u8]) -> Option<(LineEnd, usize)> {
    let (line, line_end) = match chunk.strip_suffix(b"\n\n") {
        Some(line) => (line, LineEnd::Lf),
        None => (chunk.strip_suffix(b"\r\n\r\n")?, LineEnd::CrLf),
    };
    let plain = line.starts_with(b"data:") && memchr::memchr2(b'\n', b'\r', line).is_none();
    plain.then(|| (line_end, line.len() + line_end.as_str().len()))
}

/// The last id in an event that came in pieces.
fn last_id(event: &[u8]) -> Option<&[u8]> {
    // The blank line is not with it; whatever ended the last line, this is one.
    let event_and_blank = [event, b"\n\n"].concat();
    let mut scanner = Scanner::default();
    let mut from = 0;
    while let Some(boundary) = scanner.next_boundary(&event_and_blank, from) {
        from = boundary.end;
        if let Some(EndedBlock { id: BlockId::At(line), .. }) = boundary.block {
            return event.get(line..).map(id_value);
        }
    }
    None
}

/// The value of the id line that `text` begins with.
fn id_value(text: &[u8]) -> &[u8] {
    let line = &text[..memchr::memchr2(b'\n', b'\r', text).unwrap_or(text.len())];
    let value = line.strip_prefix(b"id:").unwrap_or_default();
    value.strip_prefix(b" ").unwrap_or(value)
}

const MARK: &[u8] = "\u{feff}".as_bytes();
