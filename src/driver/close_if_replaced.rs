//! A stream in whose place another was let in.

use bytes::Bytes;

use super::listed::KICK_GRACE;
use super::places::Places;
use crate::engine::Engine;
use crate::plan::ResolvedPlan;
use crate::sync::now;

/// Says farewell if the stream was replaced.
pub(super) fn close_if_replaced(
    places: &mut Places,
    engine: &mut Engine<ResolvedPlan>,
) -> Option<Bytes> {
    if !places.slot_mut()?.take_replaced() {
        return None;
    }
    if let Some(listed) = places.listed() {
        listed.stats.mark_closing();
    }
    let at = now();
    engine.close(|settings| Some((settings.limit()?.replace(at, KICK_GRACE), at)))
}
