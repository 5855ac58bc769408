//! What scanners find: the boundaries between events.

/// A boundary between events, where an event or a comment may be written: a line begins after it,
/// and no event has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// The offset after the boundary.
    pub(crate) end: usize,
    /// The block that ended here. None after a comment or a blank line between events.
    pub(crate) block: Option<EndedBlock>,
}

/// A block of lines that a blank line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedBlock {
    /// The offset of the blank line, where another line of the block can be written.
    pub(crate) blank: usize,
    /// Whether it has a `data` field, so that clients dispatch it.
    pub(crate) data: bool,
    /// How many others ended before it, where nothing can be written.
    pub(crate) more: u8,
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
