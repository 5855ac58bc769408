//! What the layers of one setting have in common.

use crate::plan::{Plan, Setting};
use crate::service::{ServiceFactory, SseService};

/// One setting, and the services that are made with it.
#[derive(Clone, Debug)]
pub(super) struct LayerSetting<T> {
    setting: Option<T>,
    recipe: ServiceFactory,
}

impl<T: Clone> LayerSetting<T> {
    pub(super) fn on(setting: T) -> Self {
        Self { setting: Some(setting), recipe: ServiceFactory::default() }
    }

    pub(super) fn off() -> Self {
        Self { setting: None, recipe: ServiceFactory::default() }
    }

    /// Changes the setting, if it is on.
    pub(super) fn change(mut self, change: impl FnOnce(&mut T)) -> Self {
        self.setting.as_mut().map(change);
        self.recipe = ServiceFactory::default();
        self
    }

    pub(super) fn setting(&self) -> Setting<T> {
        self.setting.clone().map_or(Setting::Off, Setting::On)
    }

    /// The service around `inner`, with the plan that `plan` makes of the setting.
    pub(super) fn layer<S>(
        &self,
        inner: S,
        plan: impl FnOnce(Setting<T>) -> Plan,
    ) -> SseService<S> {
        self.recipe.service(inner, || plan(self.setting()))
    }
}
