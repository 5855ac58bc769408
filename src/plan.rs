//! What the stacked layers ask for, together.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;

use crate::engine::{
    ErrorFarewell, EventIds, Farewell, KeepAlive, Observation, Rotation, Settings,
};
use crate::state::{Drain, Label, LimitInner, RegistryInner};

/// Defines the [`Plan`]: one line a setting.
macro_rules! plan {
    ($($name:ident: $setting:ty,)*) => {
        /// What one layer asks for, or several together.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Plan {
            $(pub(crate) $name: Setting<$setting>,)*
            pub(crate) hold_limit: Option<usize>,
        }

        impl Plan {
            /// Silences everything.
            pub(crate) fn off() -> Self {
                Self { $($name: Setting::Off,)* hold_limit: None }
            }

            /// Completes this plan with one further out: the setting nearest to the handler wins.
            pub(crate) fn within(&self, outer: &Self) -> Self {
                Self {
                    $($name: self.$name.or(&outer.$name),)*
                    hold_limit: self.hold_limit.or(outer.hold_limit),
                }
            }

            /// What is left of this plan after `done` was carried out.
            pub(crate) fn without(&self, done: &Self) -> Self {
                Self {
                    $($name: self.$name.unless(&done.$name),)*
                    hold_limit: self.hold_limit.filter(|_| done.hold_limit.is_none()),
                }
            }

            /// The settings that a stream with the plan `done` cannot take over, since it has
            /// another of the kind and both hold.
            pub(crate) fn beside(&self, done: &Self) -> Self {
                Self { $($name: self.$name.beside(&done.$name),)* hold_limit: None }
            }

            /// The settings of this plan that are those of `done`, too, and not just of their kind.
            pub(crate) fn held_by(&self, done: &Self) -> Self {
                Self { $($name: self.$name.held_by(&done.$name),)* hold_limit: None }
            }

            /// Whether a stream's bytes have to be looked at; else its head is all that changes.
            pub(crate) fn drives(&self) -> bool {
                $(self.$name.on().is_some_and(PlanSetting::drives) ||)* false
            }

            /// Whether no setting was made.
            pub(crate) fn is_unset(&self) -> bool {
                $(matches!(self.$name, Setting::Unset) &&)* self.hold_limit.is_none()
            }
        }

        /// Each setting by its name: its value, `off`, or `-` where no layer made it.
        impl fmt::Display for Plan {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(if self.$name.is_logged() {
                    write!(f, "{separator}{}={}", stringify!($name), self.$name)?;
                    separator = " ";
                })*
                match self.hold_limit {
                    Some(limit) => write!(f, "{separator}hold_limit={limit}"),
                    None => Ok(()),
                }
            }
        }
    };
}

plan! {
    keep_alive: KeepAlive,
    event_ids: EventIds,
    no_buffer: NoBuffer,
    registry: RegistrySetting,
    shutdown: ShutdownSetting,
    rotation: Rotation,
    limit: Arc<LimitInner>,
    close_at_end: Farewell,
}

/// One kind of setting: not spoken of, silenced, or set.
#[derive(Clone, Debug, Default)]
pub(crate) enum Setting<T> {
    #[default]
    Unset,
    Off,
    On(T),
}

/// How a response asks proxies not to hold it back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoBuffer {
    /// Says `Content-Encoding: identity` too.
    pub(crate) identity: bool,
}

pub(crate) type LabelOf = dyn Fn(&Parts) -> Label + Send + Sync;

/// Where streams are listed, and as what.
#[derive(Clone)]
pub(crate) struct RegistrySetting {
    pub(crate) registry: Arc<RegistryInner>,
    pub(crate) label: Option<Arc<LabelOf>>,
}

impl fmt::Debug for RegistrySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySetting")
            .field("label", &self.label.is_some())
            .finish_non_exhaustive()
    }
}

/// How streams are ended.
#[derive(Clone, Debug)]
pub(crate) struct ShutdownSetting {
    pub(crate) drain: Arc<Drain>,
    /// The shutdown's own, if none is set.
    pub(crate) farewell: Option<Farewell>,
    pub(crate) finish_within: Option<Duration>,
    pub(crate) on_error: Option<Farewell>,
}

impl ShutdownSetting {
    fn on_error(&self) -> Option<ErrorFarewell> {
        let retry = self.drain.settings.retry.clone();
        self.on_error.clone().map(|farewell| ErrorFarewell { farewell, retry })
    }
}

/// A setting of a [`Plan`]. The defaults suit most kinds.
pub(crate) trait PlanSetting: Clone {
    /// Whether `other` is about the same thing that streams are counted or listed in.
    fn is_same(&self, _other: &Self) -> bool {
        true
    }

    /// Whether a stream's bytes have to be looked at for it.
    fn drives(&self) -> bool {
        true
    }

    /// Whether one stream can have two of these. Else the nearest one wins.
    const BOTH_HOLD: bool = false;

    /// Whether logs name this kind where no layer made a setting.
    const LOGGED_UNSET: bool = true;

    /// The value in logs.
    fn describe(&self) -> Cow<'static, str> {
        Cow::Borrowed("on")
    }
}

impl PlanSetting for EventIds {}

/// How a stream is closed whose body came to its end.
impl PlanSetting for Farewell {
    const LOGGED_UNSET: bool = false;
}

impl PlanSetting for NoBuffer {
    fn drives(&self) -> bool {
        false
    }
}

impl PlanSetting for Rotation {
    fn drives(&self) -> bool {
        self.is_on()
    }
}

impl PlanSetting for KeepAlive {
    fn drives(&self) -> bool {
        !self.interval.is_zero()
    }

    fn describe(&self) -> Cow<'static, str> {
        format!("{:?}", self.interval).into()
    }
}

impl PlanSetting for RegistrySetting {
    const BOTH_HOLD: bool = true;

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }
}

impl PlanSetting for ShutdownSetting {
    const BOTH_HOLD: bool = true;

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.drain, &other.drain)
    }
}

impl PlanSetting for Arc<LimitInner> {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.permits, &other.permits)
    }
}

impl<T: PlanSetting> Setting<T> {
    /// This setting, or `outer` where this one is unset.
    fn or(&self, outer: &Self) -> Self {
        match self {
            Self::Unset => outer.clone(),
            _ => self.clone(),
        }
    }

    /// This setting, unless `done` covers it.
    fn unless(&self, done: &Self) -> Self {
        match done {
            Self::Unset => self.clone(),
            _ => self.beside(done),
        }
    }

    /// This setting, if it holds beside `other`.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::On(one), Self::On(other)) if T::BOTH_HOLD && !one.is_same(other) => self.clone(),
            _ => Self::Unset,
        }
    }

    /// This setting, if `other` is the same.
    fn held_by(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::On(one), Self::On(other)) if one.is_same(other) => self.clone(),
            _ => Self::Unset,
        }
    }

    fn is_logged(&self) -> bool {
        T::LOGGED_UNSET || !matches!(self, Self::Unset)
    }

    /// The value, if this setting is on.
    pub(crate) fn on(&self) -> Option<&T> {
        match self {
            Self::On(setting) => Some(setting),
            Self::Unset | Self::Off => None,
        }
    }
}

impl<T: PlanSetting> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("-"),
            Self::Off => f.write_str("off"),
            Self::On(setting) => f.write_str(&setting.describe()),
        }
    }
}

/// A plan in the form in which streams use it; one serves all streams of a service.
#[derive(Debug)]
pub(crate) struct ResolvedPlan {
    pub(crate) plan: Plan,
    engine: Settings,
    /// The same for streams that are observed.
    observed: OnceLock<Arc<ResolvedPlan>>,
    /// The number of the next stream.
    opened: Arc<AtomicU32>,
}

impl Plan {
    /// Whether a credential's expiry ends a stream: nobody said no.
    pub(crate) fn heeds_expiry(&self) -> bool {
        !matches!(self.rotation, Setting::Off)
    }

    /// Settles it with streams that are numbered together with those of `other`.
    pub(crate) fn resolve_as(self, other: &ResolvedPlan) -> ResolvedPlan {
        ResolvedPlan { opened: Arc::clone(&other.opened), ..self.resolve() }
    }

    pub(crate) fn resolve(self) -> ResolvedPlan {
        let keep_alive = self.keep_alive.on().filter(|setting| setting.drives());
        let closing = self.shutdown.on();
        let registry = self.registry.on().map(|registry| &registry.registry);
        let rotation = match &self.rotation {
            Setting::Unset => Some(Rotation::default()),
            Setting::Off => None,
            Setting::On(rotation) => Some(rotation.clone()),
        };
        let rotates = rotation.as_ref().is_some_and(Rotation::is_on);
        let replaces = self.limit.on().is_some_and(|limit| limit.replaces());
        let engine = Settings {
            keep_alive: keep_alive.cloned(),
            ids: self.event_ids.on().cloned(),
            hold_limit: self.hold_limit.unwrap_or(Settings::HOLD_LIMIT),
            restate: closing.is_some()
                || registry.is_some()
                || rotates
                || replaces
                || self.close_at_end.on().is_some(),
            count_events: registry.is_some_and(|registry| registry.count_events),
            observation: if registry.is_some() || replaces {
                Observation::Frames
            } else {
                Observation::Nothing
            },
            on_error: closing.and_then(ShutdownSetting::on_error),
            close_at_end: self.close_at_end.on().cloned(),
            around_another: false,
            rotation,
        };
        ResolvedPlan { engine, observed: OnceLock::new(), plan: self, opened: Arc::default() }
    }
}

impl ResolvedPlan {
    /// This plan for streams that already went through a stream of this crate.
    pub(crate) fn around_another(mut self) -> Self {
        self.engine.around_another = true;
        self
    }
}

impl ResolvedPlan {
    /// The settings of the streams' engines.
    pub(crate) fn engine(&self) -> &Settings {
        &self.engine
    }

    pub(crate) fn registry(&self) -> Option<&RegistrySetting> {
        self.plan.registry.on()
    }

    pub(crate) fn closing(&self) -> Option<&ShutdownSetting> {
        self.plan.shutdown.on()
    }

    pub(crate) fn limit(&self) -> Option<&LimitInner> {
        self.plan.limit.on().map(|limit| &**limit)
    }

    /// The same for a stream that is observed.
    pub(crate) fn observed(&self) -> Arc<Self> {
        let observed = self.observed.get_or_init(|| {
            let engine = Settings { observation: Observation::FirstEvent, ..self.engine.clone() };
            let (plan, opened) = (self.plan.clone(), Arc::clone(&self.opened));
            Arc::new(Self { engine, observed: OnceLock::new(), plan, opened })
        });
        Arc::clone(observed)
    }

    /// The number of a new stream.
    pub(crate) fn next(&self) -> u32 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }
}
