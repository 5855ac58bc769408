//! Lists streams while they are open.

use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use crate::live::Label;
use crate::plan::{Enroll, Plan, Setting};
use crate::registry::Registry;
use crate::service::SseService;

/// Layer that puts streams on a [`Registry`] while they are open.
///
/// # Examples
///
/// ```
/// use tower_sse::{Registry, RegistryLayer};
///
/// let registry = Registry::new();
/// let layer = RegistryLayer::new(registry.clone()).label(|request| {
///     request.headers.get("x-user").and_then(|user| user.to_str().ok()).unwrap_or("nobody").to_owned()
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RegistryLayer(Option<Enroll>);

impl RegistryLayer {
    /// Lists streams in `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(Some(Enroll { book: registry.into_book(), label: None }))
    }

    /// Lists none, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(None)
    }

    /// Labels a stream by its request. It is asked for every request, before the handler.
    pub fn label<F, L>(mut self, label: F) -> Self
    where
        F: Fn(&Parts) -> L + Send + Sync + 'static,
        L: Into<Label>,
    {
        if let Some(settings) = &mut self.0 {
            settings.label = Some(Arc::new(move |request| label(request).into()));
        }
        self
    }

    pub(super) fn into_setting(self) -> Setting<Enroll> {
        self.0.map_or(Setting::Off, Setting::On)
    }
}

impl From<Registry> for RegistryLayer {
    fn from(registry: Registry) -> Self {
        Self::new(registry)
    }
}

impl<S> Layer<S> for RegistryLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SseService::new(inner, Plan { registry: self.clone().into_setting(), ..Plan::default() })
    }
}
