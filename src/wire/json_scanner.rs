//! The scanners of streams of JSON values: one value a line, or one after each record separator.

use memchr::memchr;

use super::boundary::{BlockId, Boundary, EndedBlock};

/// Reads a stream with a JSON value on each line. It looks for line ends only.
///
/// JSON has no line end within a string, and a value that is spread over lines is no line of such a
/// stream. A CR before the LF is white space to JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineScanner(Begun);

/// Reads a JSON text sequence.
///
/// A value may be spread over lines here. So a line end is the end of a record only if all that was
/// opened in it is closed. A record separator begins a new record in any case, since JSON has none
/// even in a string.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordScanner {
    begun: Begun,
    /// How many arrays and objects are open. Deeper than this the next separator tells.
    depth: u8,
    text: Text,
}

/// What of a line or a record has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Begun {
    #[default]
    Nothing,
    /// White space, or the separator of a record.
    Blank,
    Value,
}

/// Whether the next byte is in a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    AfterBackslash,
}

impl LineScanner {
    pub(super) fn next_boundary(&mut self, chunk: &[u8], from: usize) -> Option<Boundary> {
        let rest = &chunk[from..];
        let Some(at) = memchr(b'\n', rest) else {
            self.read(rest);
            return None;
        };
        self.read(&rest[..at]);
        let end = from + at + 1;
        let begun = std::mem::take(&mut self.0);
        Some(Boundary { end, block: (begun == Begun::Value).then_some(value(end)) })
    }

    fn read(&mut self, part: &[u8]) {
        if !part.is_empty() && self.0 != Begun::Value {
            let is_blank = part.iter().all(|byte| is_white(*byte));
            self.0 = if is_blank { Begun::Blank } else { Begun::Value };
        }
    }

    pub(super) fn on_boundary(&self) -> bool {
        self.0 == Begun::Nothing
    }

    pub(super) fn in_event(&self) -> bool {
        self.0 == Begun::Value
    }
}

/// Whether a chunk that begins with a line ends with one.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
#[inline(always)]
pub(crate) fn are_lines(chunk: &[u8]) -> bool {
    chunk.ends_with(b"\n")
}

impl RecordScanner {
    pub(super) fn next_boundary(&mut self, chunk: &[u8], from: usize) -> Option<Boundary> {
        for (at, &byte) in chunk.iter().enumerate().skip(from) {
            let is_end = match (byte, self.text) {
                (SEPARATOR, _) if self.begun == Begun::Value => {
                    *self = Self::default();
                    // Before it. It is read again, as the first byte of the next record.
                    return Some(Boundary { end: at, block: Some(value(at)) });
                }
                (SEPARATOR, _) => {
                    self.begun = Begun::Blank;
                    continue;
                }
                (_, Text::AfterBackslash) => {
                    self.text = Text::Inside;
                    false
                }
                (b'\\', Text::Inside) => {
                    self.text = Text::AfterBackslash;
                    false
                }
                (b'"', Text::Inside) => {
                    self.text = Text::Outside;
                    false
                }
                (_, Text::Inside) => false,
                (b'\n', _) => self.depth == 0 && self.begun != Begun::Blank,
                (b'"', _) => {
                    self.text = Text::Inside;
                    false
                }
                (b'[' | b'{', _) => {
                    self.depth = self.depth.saturating_add(1);
                    false
                }
                (b']' | b'}', _) if self.depth < u8::MAX => {
                    self.depth = self.depth.saturating_sub(1);
                    false
                }
                _ => false,
            };
            if is_end {
                let Self { begun, .. } = std::mem::take(self);
                let block = (begun == Begun::Value).then_some(value(at + 1));
                return Some(Boundary { end: at + 1, block });
            }
            if !is_white(byte) {
                self.begun = Begun::Value;
            }
        }
        None
    }

    pub(super) fn on_boundary(&self) -> bool {
        self.begun == Begun::Nothing
    }

    pub(super) fn in_event(&self) -> bool {
        self.begun == Begun::Value
    }
}

/// A value that ended, to which nothing is added.
fn value(end: usize) -> EndedBlock {
    EndedBlock { blank: end, data: true, more: 0, id: BlockId::None }
}

/// Whether this is white space to JSON.
fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Begins each record of a JSON text sequence.
pub(crate) const SEPARATOR: u8 = 0x1e;
