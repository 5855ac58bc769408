//! What the stacked layers ask for, together.

mod line;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;

use crate::engine::{
    ErrorFarewell, EventIds, Farewell, KeepAlive, Observation, Rotation, Settings,
};
use crate::state::{Drain, Label, Limit, RegistryInner};

/// What one layer asks for, or several together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) keep_alive: Setting<KeepAlive>,
    pub(crate) event_ids: Setting<EventIds>,
    pub(crate) no_buffer: Setting<NoBuffer>,
    pub(crate) registry: Setting<RegistrySetting>,
    pub(crate) shutdown: Setting<ShutdownSetting>,
    pub(crate) rotation: Setting<Rotation>,
    pub(crate) limit: Setting<Arc<Limit>>,
    pub(crate) hold_limit: Option<usize>,
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

impl<T: Clone> Setting<T> {
    /// This setting, or `outer` where this one does not speak.
    fn or(&self, outer: &Self) -> Self {
        match self {
            Self::Unset => outer.clone(),
            _ => self.clone(),
        }
    }

    /// This setting, unless it was spoken of in `done`.
    fn unless(&self, done: &Self) -> Self {
        match done {
            Self::Unset => self.clone(),
            _ => Self::Unset,
        }
    }

    fn on(&self) -> Option<&T> {
        match self {
            Self::On(setting) => Some(setting),
            Self::Unset | Self::Off => None,
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
    /// Silences everything.
    pub(crate) fn off() -> Self {
        Self {
            keep_alive: Setting::Off,
            event_ids: Setting::Off,
            no_buffer: Setting::Off,
            registry: Setting::Off,
            shutdown: Setting::Off,
            rotation: Setting::Off,
            limit: Setting::Off,
            hold_limit: None,
        }
    }

    /// Completes this plan with one further out: what is set nearest to the handler wins.
    pub(crate) fn within(&self, outer: &Self) -> Self {
        Self {
            keep_alive: self.keep_alive.or(&outer.keep_alive),
            event_ids: self.event_ids.or(&outer.event_ids),
            no_buffer: self.no_buffer.or(&outer.no_buffer),
            registry: self.registry.or(&outer.registry),
            shutdown: self.shutdown.or(&outer.shutdown),
            rotation: self.rotation.or(&outer.rotation),
            limit: self.limit.or(&outer.limit),
            hold_limit: self.hold_limit.or(outer.hold_limit),
        }
    }

    /// What is left of this plan once `done` was carried out.
    pub(crate) fn without(&self, done: &Self) -> Self {
        Self {
            keep_alive: self.keep_alive.unless(&done.keep_alive),
            event_ids: self.event_ids.unless(&done.event_ids),
            no_buffer: self.no_buffer.unless(&done.no_buffer),
            registry: self.registry.unless(&done.registry),
            shutdown: self.shutdown.unless(&done.shutdown),
            rotation: self.rotation.unless(&done.rotation),
            limit: self.limit.unless(&done.limit),
            hold_limit: self.hold_limit,
        }
    }

    /// Whether a credential's expiry ends a stream: nobody said no.
    pub(crate) fn heeds_expiry(&self) -> bool {
        !matches!(self.rotation, Setting::Off)
    }

    /// Settles it with streams that are numbered together with those of `other`.
    pub(crate) fn resolve_as(self, other: &ResolvedPlan) -> ResolvedPlan {
        ResolvedPlan { opened: Arc::clone(&other.opened), ..self.resolve() }
    }

    pub(crate) fn resolve(self) -> ResolvedPlan {
        let keep_alive = self.keep_alive.on().filter(|setting| !setting.interval.is_zero());
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
            restate: closing.is_some() || registry.is_some() || rotates || replaces,
            count_events: registry.is_some_and(|registry| registry.count_events),
            noted: if registry.is_some() || replaces {
                Observation::Frames
            } else {
                Observation::Nothing
            },
            on_error: closing.and_then(ShutdownSetting::on_error),
            close_at_end: None,
            rotation,
        };
        ResolvedPlan { engine, observed: OnceLock::new(), plan: self, opened: Arc::default() }
    }
}

impl AsRef<Settings> for ResolvedPlan {
    fn as_ref(&self) -> &Settings {
        &self.engine
    }
}

impl ResolvedPlan {
    pub(crate) fn no_buffer(&self) -> Option<NoBuffer> {
        self.plan.no_buffer.on().copied()
    }

    pub(crate) fn registry(&self) -> Option<&RegistrySetting> {
        self.plan.registry.on()
    }

    pub(crate) fn closing(&self) -> Option<&ShutdownSetting> {
        self.plan.shutdown.on()
    }

    pub(crate) fn limit(&self) -> Option<&Limit> {
        self.plan.limit.on().map(|limit| &**limit)
    }

    /// Whether anybody spoke of how many streams may be open.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.plan.limit, Setting::Unset)
    }

    /// The same for a stream that is observed.
    pub(crate) fn observed(&self) -> Arc<Self> {
        let observed = self.observed.get_or_init(|| {
            let engine = Settings { noted: Observation::FirstEvent, ..self.engine.clone() };
            let (plan, opened) = (self.plan.clone(), Arc::clone(&self.opened));
            Arc::new(Self { engine, observed: OnceLock::new(), plan, opened })
        });
        Arc::clone(observed)
    }

    /// The number of a new stream.
    pub(crate) fn next(&self) -> u32 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a stream's bytes are to be looked at; else its head is all that changes.
    pub(crate) fn drives(&self) -> bool {
        let Settings { keep_alive, ids, rotation, .. } = &self.engine;
        let listed =
            self.registry().is_some() || self.closing().is_some() || self.limit().is_some();
        let rotates = rotation.as_ref().is_some_and(Rotation::is_on);
        keep_alive.is_some() || ids.is_some() || listed || rotates
    }

    /// Whether anything is asked for at all.
    pub(crate) fn is_empty(&self) -> bool {
        !self.drives() && self.no_buffer().is_none()
    }
}
