//! Finds the boundaries between events in bytes that arrive in any pieces.

use memchr::{memchr, memchr2};

use super::LineEnd;

/// Reads an event stream line by line and remembers just enough to tell where events end.
///
/// It keeps no text: of a line whose end has not come yet it knows the first bytes, which is all
/// that tells one field from another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanner {
    line: LineStart,
    block: Block,
    /// The last byte was a CR, so an LF that follows belongs to it.
    after_cr: bool,
    line_end: LineEnd,
}

/// A place where anything whole may be written: behind it a line begins, and no event is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// The offset behind it.
    pub(crate) end: usize,
    /// What ended here; nothing did behind a comment or a blank line between events.
    pub(crate) block: Option<EndedBlock>,
}

/// A block of lines that a blank line has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedBlock {
    /// The offset of the blank line: where one more line of the block can be written.
    pub(crate) blank: usize,
    /// It has a `data` field, so clients dispatch it.
    pub(crate) data: bool,
    pub(crate) id: BlockId,
}

/// Whether a block sets the last event id, and where its text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BlockId {
    #[default]
    None,
    /// In the line that begins at this offset.
    At(usize),
    /// In a line that began in an earlier chunk.
    Earlier,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// It has a line that is not a comment: an event may be under way.
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

impl Scanner {
    /// Finds the next boundary at or behind `from`, or takes note of an unfinished rest.
    ///
    /// Call it with `from` zero for each new chunk and then with the `end` it gave, until it gives
    /// none: offsets count from the chunk's start.
    pub(crate) fn next_boundary(&mut self, chunk: &[u8], from: usize) -> Option<Boundary> {
        let mut start = from;
        if from == 0 {
            start = self.begin_chunk(chunk);
        }
        // A block that has an id already has it from an earlier chunk: within one chunk a call
        // sees the whole of a block.
        let mut id = if self.block.id { BlockId::Earlier } else { BlockId::None };
        while let Some(hop) = line_length(&chunk[start..]) {
            let at = start + hop;
            let next = self.end_line(chunk, at);
            let line = start;
            start = next;

            if at == line && self.line.is_empty() {
                let block = std::mem::take(&mut self.block);
                return Some(Boundary {
                    end: next,
                    block: block.started.then_some(EndedBlock { blank: at, data: block.data, id }),
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

    /// No event is under way and no line either.
    pub(crate) fn on_boundary(&self) -> bool {
        !self.block.started && self.line.is_empty()
    }

    /// An event is under way: to end here would lose it.
    pub(crate) fn in_event(&self) -> bool {
        self.block.started || !matches!(self.line.bytes(), [] | [b':', ..])
    }

    /// On a boundary whose line end may go on with an LF.
    ///
    /// Whoever writes behind such a boundary swallows that LF: behind the written text it would
    /// be a blank line.
    pub(crate) fn awaits_lf(&self) -> bool {
        self.after_cr
    }

    /// Takes the LF that [`awaits_lf`](Self::awaits_lf) told of as read.
    pub(crate) fn skip_lf(&mut self) {
        self.after_cr = false;
        self.line_end = LineEnd::CrLf;
    }

    /// How the stream's lines end, as far as is known.
    pub(crate) fn line_end(&self) -> LineEnd {
        self.line_end
    }

    /// Takes note of a line end that was seen without a scan.
    pub(crate) fn set_line_end(&mut self, line_end: LineEnd) {
        self.line_end = line_end;
    }

    /// Settles a CR at the end of the last chunk, and gives the offset where the next line begins.
    fn begin_chunk(&mut self, chunk: &[u8]) -> usize {
        let Some(first) = chunk.first().filter(|_| self.after_cr) else {
            return 0;
        };
        self.after_cr = false;
        if *first == b'\n' {
            self.line_end = LineEnd::CrLf;
            return 1;
        }
        self.line_end = LineEnd::Cr;
        0
    }

    /// Reads the line end at `at` and gives the offset behind it.
    fn end_line(&mut self, chunk: &[u8], at: usize) -> usize {
        match (chunk[at], chunk.get(at + 1)) {
            (b'\r', Some(b'\n')) => {
                self.line_end = LineEnd::CrLf;
                at + 2
            }
            (b'\r', Some(_)) => {
                self.line_end = LineEnd::Cr;
                at + 1
            }
            // Which of the two it is comes with the next chunk; until then the last line's holds.
            (b'\r', None) => {
                self.after_cr = true;
                at + 1
            }
            _ => {
                self.line_end = LineEnd::Lf;
                at + 1
            }
        }
    }

    /// Takes the rest of a line, and says what the whole line is.
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

/// The length of the line that `text` begins with, if it ends in it.
#[inline]
fn line_length(text: &[u8]) -> Option<usize> {
    match text.first()? {
        // Every other line is blank, and calling for it costs more than it is.
        b'\n' | b'\r' => Some(0),
        _ => memchr2(b'\n', b'\r', text),
    }
}

/// Tells a line from its first bytes; as many as [`LineStart`] keeps are enough.
fn field(line: &[u8]) -> Field {
    match line {
        [b':', ..] => Field::Comment,
        b"data" | [b'd', b'a', b't', b'a', b':', ..] => Field::Data,
        b"id" | [b'i', b'd', b':', ..] => Field::Id,
        _ => Field::Other,
    }
}

/// The first bytes of a line whose end has not come yet.
#[derive(Clone, Debug, Default)]
struct LineStart {
    first: [u8; LINE_START],
    /// Counted no further than there is room.
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
            // Clients ignore an id with a NUL: the line is as good as one of an unknown field.
            self.first[0] = 0;
        }
    }
}

/// The longest field name that matters and what ends it.
const LINE_START: usize = "data:".len();
