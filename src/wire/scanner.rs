//! The scanners, which find the boundaries between events in chunks of bytes.

use super::boundary::Boundary;
use super::event_scanner::EventScanner;
use super::json_scanner::{LineScanner, RecordScanner};
use super::message_scanner::MessageScanner;
use super::text_scanner::TextScanner;
use super::{Framing, LineEnd, Notation, Protocol};

/// Finds the boundaries between the events of a body, by its framing.
#[derive(Clone, Debug)]
pub(crate) enum Scanner {
    Events(EventScanner),
    Lines(LineScanner),
    Records(RecordScanner),
    Messages(Protocol, MessageScanner),
    Text(TextScanner),
}

impl Scanner {
    /// A scanner for the beginning of a body.
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Events(EventScanner::default()),
            Framing::JsonLines => Self::Lines(LineScanner::default()),
            Framing::JsonSequence => Self::Records(RecordScanner::default()),
            Framing::Calls(Protocol::GrpcWebText) => Self::Text(TextScanner::default()),
            Framing::Calls(protocol) => Self::Messages(protocol, MessageScanner::default()),
        }
    }

    /// Finds the next boundary at or after `from`. If there is none, keeps the beginning of what is
    /// unfinished.
    ///
    /// Call it with `from` zero for each new chunk, and then with the `end` that it returned, until
    /// it returns `None`. Offsets count from the beginning of the chunk. `line_end` becomes the
    /// last line end of an event stream.
    #[inline]
    pub(crate) fn next_boundary(
        &mut self,
        chunk: &[u8],
        from: usize,
        line_end: &mut LineEnd,
    ) -> Option<Boundary> {
        match self {
            Self::Events(scanner) => scanner.next_boundary(chunk, from, line_end),
            Self::Lines(scanner) => scanner.next_boundary(chunk, from),
            Self::Records(scanner) => scanner.next_boundary(chunk, from),
            Self::Messages(protocol, scanner) => scanner.next_boundary(*protocol, chunk, from),
            Self::Text(scanner) => scanner.next_boundary(chunk, from),
        }
    }

    /// Reads a chunk, and gives the number of events that ended in it.
    pub(crate) fn read(&mut self, chunk: &[u8]) -> usize {
        let (mut from, mut ended, mut line_end) = (0, 0, LineEnd::default());
        while let Some(boundary) = self.next_boundary(chunk, from, &mut line_end) {
            from = boundary.end;
            if let Some(block) = boundary.block {
                ended += usize::from(block.more) + usize::from(block.data);
            }
        }
        ended
    }

    /// Whether neither an event nor a line has begun.
    #[inline]
    pub(crate) fn on_boundary(&self) -> bool {
        match self {
            Self::Events(scanner) => scanner.on_boundary(),
            Self::Lines(scanner) => scanner.on_boundary(),
            Self::Records(scanner) => scanner.on_boundary(),
            Self::Messages(_, scanner) => scanner.on_boundary(),
            Self::Text(scanner) => scanner.on_boundary(),
        }
    }

    /// Whether an event has begun, which clients would lose if the stream ended here.
    #[inline]
    pub(crate) fn in_event(&self) -> bool {
        match self {
            Self::Events(scanner) => scanner.in_event(),
            Self::Lines(scanner) => scanner.in_event(),
            Self::Records(scanner) => scanner.in_event(),
            Self::Messages(_, scanner) => !scanner.on_boundary(),
            Self::Text(scanner) => !scanner.on_boundary(),
        }
    }

    /// Whether a message of a call has begun that does not hold its status.
    pub(crate) fn in_message(&self) -> bool {
        match self {
            Self::Messages(_, scanner) => scanner.in_message(),
            Self::Text(scanner) => scanner.in_message(),
            Self::Events(_) | Self::Lines(_) | Self::Records(_) => false,
        }
    }

    /// Whether the stream's own last event has ended, so that nothing may follow.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Messages(_, scanner) => scanner.is_over(),
            Self::Text(scanner) => scanner.is_over(),
            Self::Events(_) | Self::Lines(_) | Self::Records(_) => false,
        }
    }

    /// Whether the event that has begun is one that may be the last without an end.
    pub(crate) fn may_end_here(&self) -> bool {
        match self {
            Self::Lines(_) | Self::Records(_) => true,
            Self::Events(_) | Self::Messages(..) | Self::Text(_) => false,
        }
    }

    /// Whether the event that has begun is known to be longer than this by more bytes.
    pub(crate) fn wants_more_than(&self, limit: usize) -> bool {
        match self {
            Self::Messages(_, scanner) => scanner.wants_more_than(limit),
            Self::Text(scanner) => scanner.wants_more_than(limit),
            Self::Events(_) | Self::Lines(_) | Self::Records(_) => false,
        }
    }

    /// The scanner of events, if this is one.
    #[inline]
    pub(crate) fn events(&mut self) -> Option<&mut EventScanner> {
        match self {
            Self::Events(scanner) => Some(scanner),
            _ => None,
        }
    }

    /// Whether the last line end was a CR, so that an LF may follow that belongs to it.
    #[inline]
    pub(crate) fn awaits_lf(&self) -> bool {
        match self {
            Self::Events(scanner) => scanner.awaits_lf(),
            _ => false,
        }
    }

    /// How the text of the server is written into what is scanned, an event stream with lines that
    /// end so.
    #[inline]
    pub(crate) fn notation(&self, line_end: LineEnd) -> Notation {
        match self {
            Self::Events(_) => Notation::Events(line_end),
            Self::Lines(_) => Notation::Lines,
            Self::Records(_) => Notation::Records,
            Self::Messages(protocol, _) => Notation::Status(*protocol),
            Self::Text(_) => Notation::Status(Protocol::GrpcWebText),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_of_any_framing_takes_no_more_memory_in_a_stream() {
        assert_eq!(size_of::<Scanner>(), size_of::<EventScanner>());
    }
}
