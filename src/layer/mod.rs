//! The layers: builders of one setting each, and one of all.
//!
//! A layer has a file here, a line in the table of [`Plan`], a method of [`SseLayer`], and its name
//! in the lists below and in `lib.rs`.

mod close_at_end;
mod dialect;
mod event_id;
mod keep_alive;
mod limit;
mod no_buffer;
mod registry;
mod rotation;
mod shutdown;
mod sse;

pub use close_at_end::CloseAtEndLayer;
pub use dialect::DialectLayer;
pub use event_id::EventIdLayer;
pub use keep_alive::KeepAliveLayer;
pub use limit::LimitLayer;
pub use no_buffer::NoBufferLayer;
pub use registry::RegistryLayer;
pub use rotation::RotationLayer;
pub use shutdown::ShutdownLayer;
pub use sse::SseLayer;

use crate::plan::{Plan, Setting};
use crate::service::{ServiceFactory, SseService};

/// The setting of a layer, and the services that are made with it.
#[derive(Clone, Debug)]
struct LayerSetting<T> {
    value: Option<T>,
    services: ServiceFactory,
}

impl<T: Clone> LayerSetting<T> {
    fn on(value: T) -> Self {
        Self { value: Some(value), services: ServiceFactory::default() }
    }

    fn off() -> Self {
        Self { value: None, services: ServiceFactory::default() }
    }

    /// Changes the value, if the setting is on.
    fn change(mut self, change: impl FnOnce(&mut T)) -> Self {
        self.value.as_mut().map(change);
        self.services = ServiceFactory::default();
        self
    }

    fn setting(&self) -> Setting<T> {
        self.value.clone().map_or(Setting::Off, Setting::On)
    }

    /// The service around `inner`, with the plan that `plan` makes of the setting.
    fn layer<S>(&self, inner: S, plan: impl FnOnce(Setting<T>) -> Plan) -> SseService<S> {
        self.services.service(inner, || plan(self.setting()))
    }
}

/// Makes a [`tower_layer::Layer`] of a builder around the [`LayerSetting`] of one field of the
/// plan.
macro_rules! layer_of_setting {
    ($layer:ident, $field:ident: $setting:ty) => {
        impl $layer {
            pub(super) fn setting(&self) -> crate::plan::Setting<$setting> {
                self.0.setting()
            }
        }

        impl<S> tower_layer::Layer<S> for $layer {
            type Service = crate::service::SseService<S>;

            fn layer(&self, inner: S) -> Self::Service {
                let plan = |$field| crate::plan::Plan { $field, ..Default::default() };
                self.0.layer(inner, plan)
            }
        }
    };
}
use layer_of_setting;
