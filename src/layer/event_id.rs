//! Gives events ids.

use std::sync::Arc;

use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::engine::EventIds;
use crate::plan::{Plan, Setting};
use crate::service::SseService;
use crate::wire::EventId;

/// Layer that gives an id to each event that has data and none of its own.
///
/// The id is the event's last line: some clients take up the id of an event that is cut off
/// behind it. Comments and blocks without data use up no number, and ids of the stream's own are
/// kept.
///
/// # Examples
///
/// ```
/// use tower_sse::{EventId, EventIdLayer};
///
/// let numbers = EventIdLayer::sequential();
/// let epoch = 1_767_225_600;
/// let with_epoch = EventIdLayer::with(move |n| EventId::with_epoch(epoch, n));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct EventIdLayer(LayerSetting<EventIds>);

impl EventIdLayer {
    /// Numbers the events of each stream: 1, 2, 3 …
    pub fn sequential() -> Self {
        Self(LayerSetting::on(EventIds::Sequential))
    }

    /// Asks `id` for the id of a stream's n-th event, counted from 1.
    pub fn with<F>(id: F) -> Self
    where
        F: Fn(u64) -> EventId + Send + Sync + 'static,
    {
        Self(LayerSetting::on(EventIds::With(Arc::new(id))))
    }

    /// Gives none, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    pub(super) fn setting(&self) -> Setting<EventIds> {
        self.0.setting()
    }
}

impl<S> Layer<S> for EventIdLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |event_ids| Plan { event_ids, ..Plan::default() })
    }
}
