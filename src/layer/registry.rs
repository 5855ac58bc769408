//! [`RegistryLayer`]: a list of the streams that are open.

use super::{LayerSetting, layer_of_setting};
use crate::plan::{RegistrySetting, RequestFn};
use crate::registry::Registry;
use crate::state::Label;
use http::request::Parts;

/// Layer that lists streams in a [`Registry`] while they are open.
///
/// A stream that passes layers with two registries, for instance of a server and of a tenant, is
/// listed in both.
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

layer_of_setting!(RegistryLayer, registry: RegistrySetting);

impl RegistryLayer {
    /// Lists streams in `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(LayerSetting::on(RegistrySetting { registry: registry.into_inner(), label: None }))
    }

    /// Lists no streams, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Labels streams by their request.
    ///
    /// The function is called for every request, before the handler. If it panics, the stream has
    /// no label.
    pub fn label<F, L>(self, label: F) -> Self
    where
        F: Fn(&Parts) -> L + Send + Sync + 'static,
        L: Into<Label>,
    {
        let label = RequestFn::new(move |request| label(request).into());
        Self(self.0.change(|settings| settings.label = Some(label)))
    }
}

impl From<Registry> for RegistryLayer {
    fn from(registry: Registry) -> Self {
        Self::new(registry)
    }
}
