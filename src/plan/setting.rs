//! One setting of a plan, and how settings of one kind go together.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::request_fn::{Refusals, RequestFn};
use crate::dialect::{Dialect, Opening};
use crate::engine::{EventIds, Farewell, Heartbeat, KeepAlive, MAX_TIMER, Rotation, Signal};
use crate::state::{Drain, Label, LimitInner, RegistryInner};
use crate::sync::now;

/// What the layers say about one kind of setting.
#[derive(Clone, Debug, Default)]
pub(crate) enum Setting<T> {
    /// No layer said anything.
    #[default]
    Unset,
    /// It is off, whatever layers further out say.
    Off,
    On(T),
    /// It is on within a layer that turns it off: the other values of layers further out do not
    /// hold beside it.
    Only(T),
}

/// The value of a [`Setting`]. The defaults suit most kinds.
pub(crate) trait PlanSetting: Clone {
    /// Whether one stream can have two values, if they are not the same. Else the nearest one wins.
    const BOTH_HOLD: bool = false;

    /// Whether logs name this kind where it is unset.
    const LOGGED_UNSET: bool = true;

    /// Whether two values list or count streams at the same place.
    fn is_same(&self, _other: &Self) -> bool {
        true
    }

    /// Whether a stream's bytes have to be read for it; else it concerns the head only.
    fn drives(&self) -> bool {
        true
    }

    /// The value in logs.
    fn describe(&self) -> Cow<'static, str> {
        Cow::Borrowed("on")
    }
}

/// Which headers ask proxies not to hold a response back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoBuffer {
    /// `Content-Encoding: identity`, too.
    pub(crate) identity: bool,
}

/// The limit of streams, and when its permits are taken.
#[derive(Clone, Debug)]
pub(crate) struct LimitSetting {
    pub(crate) limit: Arc<LimitInner>,
    /// For these requests before the handler runs.
    pub(crate) before_handler: Option<RequestFn<bool>>,
    pub(crate) refusal: Option<Refusals>,
}

impl LimitSetting {
    /// Whether a permit is taken before the handler of this request runs.
    pub(crate) fn is_before_handler(&self, request: &Parts) -> bool {
        self.before_handler.as_ref().is_some_and(|it| it.names(request))
    }
}

/// Where streams are listed, and under which label.
#[derive(Clone)]
pub(crate) struct RegistrySetting {
    pub(crate) registry: Arc<RegistryInner>,
    pub(crate) label: Option<RequestFn<Label>>,
}

impl RegistrySetting {
    /// The label of a request's stream.
    pub(crate) fn label_of(&self, request: &Parts) -> Label {
        self.label.as_ref().and_then(|label| label.ask(request)).unwrap_or_default()
    }
}

impl fmt::Debug for RegistrySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySetting").field("label", &self.label).finish_non_exhaustive()
    }
}

/// How a drain ends streams.
#[derive(Clone, Debug)]
pub(crate) struct ShutdownSetting {
    pub(crate) drain: Arc<Drain>,
    /// In place of the farewell of the drain.
    pub(crate) farewell: Option<Farewell>,
    pub(crate) finish_within: FinishWithin,
    pub(crate) on_error: Option<Farewell>,
    pub(crate) refusal: Option<Refusals>,
}

/// For how long streams may go on after the trigger of a drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinishWithin {
    pub(crate) of_all: Option<Duration>,
    /// For some requests, in place of what holds for all.
    pub(crate) of_request: Option<RequestFn<Option<Duration>>>,
}

impl FinishWithin {
    /// For how long the stream of this request may go on, if that is not what holds for all.
    pub(crate) fn of(&self, request: &Parts) -> Option<Duration> {
        self.of_request.as_ref()?.ask(request)?
    }
}

/// How streams are kept alive. What is not set is up to the dialect.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeepAliveSetting {
    /// Zero for never.
    pub(crate) interval: Option<Duration>,
    pub(crate) signal: Option<Signal>,
    pub(crate) jitter: Option<f32>,
    pub(crate) line: Option<String>,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Zero for never.
    pub(crate) give_up_after: Option<Duration>,
}

impl KeepAliveSetting {
    /// This setting where streams are in `dialect`.
    pub(super) fn resolve(&self, dialect: &Dialect) -> KeepAlive {
        let interval = self.interval.unwrap_or(dialect.interval());
        let signal = self.signal.as_ref().unwrap_or(dialect.signal());
        let mut keep_alive = KeepAlive::new(interval, signal, now());
        if dialect.opening() == Opening::Nothing {
            keep_alive = keep_alive.without_opening();
        }
        if let Some(line) = &self.line {
            keep_alive.set_line(line);
        }
        keep_alive.jitter = self.jitter.unwrap_or(keep_alive.jitter);
        keep_alive.heartbeat.clone_from(&self.heartbeat);
        let give_up_after = self.give_up_after.or(dialect.give_up_after());
        let give_up_after = give_up_after.filter(|limit| !limit.is_zero());
        keep_alive.give_up_after = give_up_after.map(|limit| limit.min(MAX_TIMER));
        keep_alive
    }
}

impl PlanSetting for EventIds {}

impl PlanSetting for KeepAliveSetting {
    fn drives(&self) -> bool {
        self.interval.is_none_or(|interval| !interval.is_zero())
    }

    fn describe(&self) -> Cow<'static, str> {
        self.interval.map_or(Cow::Borrowed("on"), |interval| format!("{interval:?}").into())
    }
}

impl PlanSetting for Dialect {
    const LOGGED_UNSET: bool = false;

    /// An error of the body becomes its last words.
    fn drives(&self) -> bool {
        self.has_words()
    }

    fn describe(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.name())
    }
}

impl PlanSetting for NoBuffer {
    fn drives(&self) -> bool {
        false
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

impl PlanSetting for Rotation {
    fn drives(&self) -> bool {
        self.is_on()
    }
}

impl PlanSetting for LimitSetting {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.limit.permits, &other.limit.permits)
    }
}

/// The farewell of streams whose body came to its end.
impl PlanSetting for Farewell {
    const LOGGED_UNSET: bool = false;
}

impl<T: PlanSetting> Setting<T> {
    /// This setting, or `outer` where this one is unset.
    pub(crate) fn or(&self, outer: &Self) -> Self {
        match (self, outer) {
            (Self::Unset, _) => outer.clone(),
            (Self::On(value), Self::Off) if T::BOTH_HOLD => Self::Only(value.clone()),
            (Self::On(value), Self::Only(outer)) if value.is_same(outer) => {
                Self::Only(value.clone())
            }
            _ => self.clone(),
        }
    }

    /// This setting, unless `done` covers it.
    pub(super) fn unless(&self, done: &Self) -> Self {
        match (self, done) {
            (_, Self::Unset) => self.clone(),
            // What is on stays on, and is the only one.
            (Self::Off, Self::On(_)) if T::BOTH_HOLD => Self::Off,
            _ => self.beside(done),
        }
    }

    /// This setting, if both it and `other`, which is further in, hold for one stream.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        match (self.on(), other) {
            (Some(one), Self::On(other)) if T::BOTH_HOLD && !one.is_same(other) => self.clone(),
            _ => Self::Unset,
        }
    }

    /// This setting, if it is the same as `other`.
    pub(super) fn held_by(&self, other: &Self) -> Self {
        match (self.on(), other.on()) {
            (Some(one), Some(other)) if one.is_same(other) => self.clone(),
            _ => Self::Unset,
        }
    }

    pub(super) fn is_logged(&self) -> bool {
        T::LOGGED_UNSET || !matches!(self, Self::Unset)
    }

    /// The value, if this setting is on.
    pub(crate) fn on(&self) -> Option<&T> {
        match self {
            Self::On(setting) | Self::Only(setting) => Some(setting),
            Self::Unset | Self::Off => None,
        }
    }
}

impl<T: PlanSetting> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("-"),
            Self::Off => f.write_str("off"),
            Self::On(setting) | Self::Only(setting) => f.write_str(&setting.describe()),
        }
    }
}
