//! The scanner of event streams.

use memchr::{memchr, memchr2};

use super::LineEnd;
use super::boundary::{BlockId, Boundary, EndedBlock};

/// Reads an event stream line by line, and keeps just enough to know where events end.
///
/// It keeps no text. Of a line that has not ended yet it keeps the first bytes, which are enough to
/// tell one field from another.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventScanner {
    line: LineStart,
    block: Block,
    /// Whether the last byte was a CR: an LF after it is part of the same line end.
    after_cr: bool,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Whether it has a line that is not a comment, so that an event may have begun.
    started: bool,
    data: bool,
    id: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Comment,
    Data,
    Id,
    Other,
}

impl EventScanner {
    /// Finds the next boundary at or after `from`. If there is none, keeps the beginning of the
    /// unfinished line.
    ///
    /// Call it with `from` zero for each new chunk, and then with the `end` that it returned, until
    /// it returns `None`. Offsets count from the beginning of the chunk. `line_end` becomes the
    /// last line end.
    pub(crate) fn next_boundary(
        &mut self,
        chunk: &[u8],
        from: usize,
        line_end: &mut LineEnd,
    ) -> Option<Boundary> {
        let mut start = from;
        if from == 0 {
            start = self.begin_chunk(chunk, line_end);
        }
        // A block that has an id at this point has it from an earlier chunk, because a call reads
        // to the end of a block.
        let mut id = if self.block.id { BlockId::Earlier } else { BlockId::None };
        while let Some(hop) = line_length(&chunk[start..]) {
            let at = start + hop;
            let next = self.end_line(chunk, at, line_end);
            let line = start;
            start = next;

            if at == line && self.line.is_empty() {
                let block = std::mem::take(&mut self.block);
                return Some(Boundary {
                    end: next,
                    block: block.started.then_some(EndedBlock {
                        blank: at,
                        data: block.data,
                        more: 0,
                        id,
                    }),
                });
            }
            let began_here = self.line.is_empty();
            match self.take_line(&chunk[line..at]) {
                Field::Comment if !self.block.started => {
                    return Some(Boundary { end: next, block: None });
                }
                Field::Comment => {}
                field => {
                    self.block.started = true;
                    self.block.data |= field == Field::Data;
                    if field == Field::Id {
                        self.block.id = true;
                        id = if began_here { BlockId::At(line) } else { BlockId::Earlier };
                    }
                }
            }
        }
        self.line.extend(&chunk[start..]);
        None
    }

    /// Whether neither an event nor a line has begun.
    pub(crate) fn on_boundary(&self) -> bool {
        !self.block.started && self.line.is_empty()
    }

    /// Whether an event has begun, which clients would lose if the stream ended here.
    pub(crate) fn in_event(&self) -> bool {
        self.block.started || !matches!(self.line.bytes(), [] | [b':', ..])
    }

    /// Whether the last line end was a CR, so that an LF may follow that belongs to it.
    ///
    /// If something is written after the CR, the LF must be left out: it would be a blank line.
    pub(crate) fn awaits_lf(&self) -> bool {
        self.after_cr
    }

    /// Counts the LF after a CR as read: see [`awaits_lf`](Self::awaits_lf).
    pub(crate) fn skip_lf(&mut self) {
        self.after_cr = false;
    }

    /// Reads an LF that belongs to a CR at the end of the last chunk, and returns the offset where
    /// the next line begins.
    fn begin_chunk(&mut self, chunk: &[u8], line_end: &mut LineEnd) -> usize {
        let Some(first) = chunk.first().filter(|_| self.after_cr) else {
            return 0;
        };
        self.after_cr = false;
        if *first == b'\n' {
            *line_end = LineEnd::CrLf;
            return 1;
        }
        *line_end = LineEnd::Cr;
        0
    }

    /// Reads the line end at `at`, and returns the offset after it.
    fn end_line(&mut self, chunk: &[u8], at: usize, line_end: &mut LineEnd) -> usize {
        match (chunk[at], chunk.get(at + 1)) {
            (b'\r', Some(b'\n')) => {
                *line_end = LineEnd::CrLf;
                at + 2
            }
            (b'\r', Some(_)) => {
                *line_end = LineEnd::Cr;
                at + 1
            }
            // The next chunk tells whether an LF follows. Until then the line end stays as it was.
            (b'\r', None) => {
                self.after_cr = true;
                at + 1
            }
            _ => {
                *line_end = LineEnd::Lf;
                at + 1
            }
        }
    }

    /// Reads the rest of a line, and returns its field.
    fn take_line(&mut self, rest: &[u8]) -> Field {
        if self.line.is_empty() {
            return match field(rest) {
                Field::Id if memchr(0, rest).is_some() => Field::Other,
                field => field,
            };
        }
        self.line.extend(rest);
        let line = std::mem::take(&mut self.line);
        field(line.bytes())
    }
}

/// The length of the line at the beginning of `text`, without its line end. None if it does not end
/// in `text`.
#[inline]
fn line_length(text: &[u8]) -> Option<usize> {
    match text.first()? {
        // Half of all lines are blank, and a call of `memchr2` costs more than this.
        b'\n' | b'\r' => Some(0),
        _ => memchr2(b'\n', b'\r', text),
    }
}

/// The field of a line, by its first bytes: as many as [`LineStart`] keeps are enough.
fn field(line: &[u8]) -> Field {
    match line {
        [b':', ..] => Field::Comment,
        b"data" | [b'd', b'a', b't', b'a', b':', ..] => Field::Data,
        b"id" | [b'i', b'd', b':', ..] => Field::Id,
        _ => Field::Other,
    }
}

/// The first bytes of a line that has not ended yet.
#[derive(Clone, Debug, Default)]
struct LineStart {
    first: [u8; LINE_START],
    /// At most the length of `first`.
    len: u8,
}

impl LineStart {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.first[..usize::from(self.len)]
    }

    fn extend(&mut self, more: &[u8]) {
        for &byte in more.iter().take(LINE_START - usize::from(self.len)) {
            self.first[usize::from(self.len)] = byte;
            self.len += 1;
        }
        if self.first.starts_with(b"id") && (memchr(0, more).is_some() || self.bytes().contains(&0))
        {
            // Clients ignore an id with a NUL, as they ignore an unknown field.
            self.first[0] = 0;
        }
    }
}

/// The length of the longest field name that matters, with the colon.
const LINE_START: usize = "data:".len();

/// Tells whether a chunk that begins on a boundary is whole, from its last bytes.
///
/// Only line ends in LF are looked for: after a CR it takes a scan to know what an LF means.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
#[inline(always)]
pub(crate) fn blank_at_end(chunk: &[u8]) -> Option<LineEnd> {
    if chunk.ends_with(b"\n\n") {
        return Some(LineEnd::Lf);
    }
    chunk.ends_with(b"\n\r\n").then_some(LineEnd::CrLf)
}

/// How the lines end of a chunk that is one event with one line of data, and where its blank line
/// begins.
pub(crate) fn plain_event(chunk: &[u8]) -> Option<(LineEnd, usize)> {
    let (line, line_end) = match chunk.strip_suffix(b"\n\n") {
        Some(line) => (line, LineEnd::Lf),
        None => (chunk.strip_suffix(b"\r\n\r\n")?, LineEnd::CrLf),
    };
    let plain = line.starts_with(b"data:") && memchr2(b'\n', b'\r', line).is_none();
    plain.then(|| (line_end, line.len() + line_end.as_str().len()))
}

/// The last id in an event that came in pieces.
pub(crate) fn last_id(event: &[u8]) -> Option<&[u8]> {
    // The blank line is not with it; whatever ended the last line, this is one.
    let event_and_blank = [event, b"\n\n"].concat();
    let mut scanner = EventScanner::default();
    let mut from = 0;
    while let Some(boundary) =
        scanner.next_boundary(&event_and_blank, from, &mut LineEnd::default())
    {
        from = boundary.end;
        if let Some(EndedBlock { id: BlockId::At(line), .. }) = boundary.block {
            return event.get(line..).map(id_value);
        }
    }
    None
}

/// The value of the id line that `text` begins with.
pub(crate) fn id_value(text: &[u8]) -> &[u8] {
    let line = &text[..memchr2(b'\n', b'\r', text).unwrap_or(text.len())];
    let value = line.strip_prefix(b"id:").unwrap_or_default();
    value.strip_prefix(b" ").unwrap_or(value)
}
