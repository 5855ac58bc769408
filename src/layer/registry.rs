//! Lists streams while they are open.

use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::plan::{Plan, RegistrySetting, Setting};
use crate::registry::Registry;
use crate::service::SseService;
use crate::state::Label;

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
pub struct RegistryLayer(LayerSetting<RegistrySetting>);

impl RegistryLayer {
    /// Lists streams in `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(LayerSetting::on(RegistrySetting { registry: registry.into_inner(), label: None }))
    }

    /// Lists none, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Labels a stream by its request. It is asked for every request, before the handler.
    pub fn label<F, L>(self, label: F) -> Self
    where
        F: Fn(&Parts) -> L + Send + Sync + 'static,
        L: Into<Label>,
    {
        let label = Arc::new(move |request: &Parts| label(request).into());
        Self(self.0.change(|settings| settings.label = Some(label)))
    }

    pub(super) fn setting(&self) -> Setting<RegistrySetting> {
        self.0.setting()
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
        self.0.layer(inner, |registry| Plan { registry, ..Plan::default() })
    }
}
