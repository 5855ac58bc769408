//! No metrics: this is compiled away.

#[derive(Debug, Default)]
pub(crate) struct Pending(());

impl Pending {
    #[inline]
    #[expect(clippy::unused_self, reason = "with metrics it has a gauge")]
    pub(crate) fn follow(&self, _: impl FnOnce() -> usize) {}
}

#[inline]
pub(crate) fn mailbox_dropped(_: usize) {}

#[inline]
pub(crate) fn refused(_: &'static str) {}
