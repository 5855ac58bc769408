//! What stacked layers ask for, as one value.
//!
//! Each layer makes a [`Plan`] with one [`Setting`] in it. The service completes it with the plans
//! of outer layers, and streams use it as a [`ResolvedPlan`]. A new kind of setting is a line in
//! the table of [`Plan`] and a [`PlanSetting`].

mod request_fn;
mod setting;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

pub(crate) use request_fn::{Refusals, RequestFn};
pub(crate) use setting::{
    FinishWithin, KeepAliveSetting, LimitSetting, NoBuffer, PlanSetting, RegistrySetting, Setting,
    ShutdownSetting,
};

use crate::dialect::Dialect;
use crate::engine::{
    CloseReason, ERROR_RETRY, EventIds, Farewell, Observation, Rotation, Settings,
};
use crate::state::LimitInner;

/// Defines [`Plan`], one line a setting.
macro_rules! plan {
    ($($name:ident: $setting:ty,)*) => {
        /// What one layer asks for, or several together.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Plan {
            $(pub(crate) $name: Setting<$setting>,)*
            pub(crate) hold_limit: Option<usize>,
        }

        impl Plan {
            /// Every setting off.
            pub(crate) fn off() -> Self {
                Self { $($name: Setting::Off,)* hold_limit: None }
            }

            /// This plan, completed with one further out: the setting nearest to the handler wins.
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

            /// The settings that hold beside those of `done`, so that a stream with the plan `done`
            /// cannot take them over.
            pub(crate) fn beside(&self, done: &Self) -> Self {
                Self { $($name: self.$name.beside(&done.$name),)* hold_limit: None }
            }

            /// The settings that are the same in `done`, and not just of the same kind.
            pub(crate) fn held_by(&self, done: &Self) -> Self {
                Self { $($name: self.$name.held_by(&done.$name),)* hold_limit: None }
            }

            /// Whether a stream's bytes have to be read; else only its head changes.
            pub(crate) fn drives(&self) -> bool {
                $(self.$name.on().is_some_and(PlanSetting::drives) ||)* false
            }

            /// Whether every setting is unset.
            pub(crate) fn is_unset(&self) -> bool {
                $(matches!(self.$name, Setting::Unset) &&)* self.hold_limit.is_none()
            }
        }

        /// Each setting by its name: its value, `off`, or `-` where it is unset.
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
    keep_alive: KeepAliveSetting,
    event_ids: EventIds,
    no_buffer: NoBuffer,
    registry: RegistrySetting,
    shutdown: ShutdownSetting,
    rotation: Rotation,
    limit: LimitSetting,
    close_at_end: Farewell,
    dialect: Dialect,
}

impl Plan {
    /// Whether a credential's expiry ends a stream. Layers have to turn that off.
    pub(crate) fn heeds_expiry(&self) -> bool {
        !matches!(self.rotation, Setting::Off)
    }

    /// The function that makes responses to requests that are refused for this reason.
    pub(crate) fn refusals(&self, reason: CloseReason) -> Option<&Refusals> {
        match reason {
            CloseReason::Limit => self.limit.on()?.refusal.as_ref(),
            _ => self.shutdown.on()?.refusal.as_ref(),
        }
    }

    /// Whether something is asked of each request, before the handler runs.
    pub(crate) fn reads_requests(&self) -> bool {
        let has_label = self.registry.on().is_some_and(|setting| setting.label.is_some());
        let finish_within = self.shutdown.on().map(|setting| &setting.finish_within);
        has_label
            || self.dialect.on().is_some_and(Dialect::depends_on_request)
            || finish_within.is_some_and(|it| it.of_request.is_some())
            || !matches!(self.limit, Setting::Unset)
            || self.makes_refusals()
    }

    /// Whether a function makes responses to requests that are refused.
    pub(crate) fn makes_refusals(&self) -> bool {
        let reasons = [CloseReason::Limit, CloseReason::Draining];
        reasons.into_iter().any(|reason| self.refusals(reason).is_some())
    }

    /// The words of the server.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect.on().cloned().unwrap_or_default()
    }

    /// This plan in the form in which streams use it.
    pub(crate) fn resolve(self) -> ResolvedPlan {
        let Self { keep_alive, event_ids, registry, shutdown, rotation, limit, .. } = &self;
        let (registry, shutdown) = (registry.on(), shutdown.on());
        let rotation = match rotation {
            Setting::Unset => Some(Rotation::default()),
            Setting::Off => None,
            Setting::On(rotation) | Setting::Only(rotation) => Some(rotation.clone()),
        };
        let dialect = self.dialect();
        let replaces = limit.on().is_some_and(|setting| setting.limit.replaces());
        let restate = [
            registry.is_some(),
            shutdown.is_some(),
            rotation.as_ref().is_some_and(Rotation::is_on),
            replaces,
            self.close_at_end.on().is_some(),
            dialect.has_words(),
        ];
        let engine = Settings {
            keep_alive: keep_alive.on().filter(|it| it.drives()).map(|it| it.resolve(&dialect)),
            ids: event_ids.on().cloned(),
            hold_limit: self.hold_limit.unwrap_or(Settings::HOLD_LIMIT),
            restate: restate.contains(&true),
            count_events: registry.is_some_and(|setting| setting.registry.count_events),
            observation: match registry.is_some() || replaces {
                true => Observation::Frames,
                false => Observation::Nothing,
            },
            on_error: shutdown.and_then(|shutdown| shutdown.on_error.clone()),
            error_retry: shutdown
                .map_or(ERROR_RETRY, |shutdown| shutdown.drain.settings.retry.clone()),
            words: dialect.words(),
            close_at_end: self.close_at_end.on().cloned(),
            around_another: false,
            rotation,
        };
        ResolvedPlan::new(self, engine, Arc::default())
    }

    /// The same, with streams that are numbered together with those of `other`.
    pub(crate) fn resolve_as(self, other: &ResolvedPlan) -> ResolvedPlan {
        ResolvedPlan { opened: Arc::clone(&other.opened), ..self.resolve() }
    }
}

/// A plan in the form in which streams use it. One value serves all streams of a service.
#[derive(Debug)]
pub(crate) struct ResolvedPlan {
    pub(crate) plan: Plan,
    engine: Settings,
    /// This plan for streams that are observed.
    observed: OnceLock<Arc<ResolvedPlan>>,
    /// Its dialect alone, for streams that other ones are read from.
    #[cfg(feature = "resume")]
    dialect_alone: OnceLock<Option<Arc<ResolvedPlan>>>,
    /// The plan further out of which this one has everything.
    completes: Option<Arc<ResolvedPlan>>,
    /// The number of the next stream.
    opened: Arc<AtomicU32>,
}

/// As the plan is shown, with the interval that the dialect has.
impl fmt::Display for ResolvedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plan = self.plan.clone();
        if let (Setting::On(setting), Some(resolved)) =
            (&mut plan.keep_alive, &self.engine.keep_alive)
        {
            setting.interval = Some(resolved.interval);
        }
        plan.fmt(f)
    }
}

impl ResolvedPlan {
    fn new(plan: Plan, engine: Settings, opened: Arc<AtomicU32>) -> Self {
        Self {
            plan,
            engine,
            observed: OnceLock::new(),
            #[cfg(feature = "resume")]
            dialect_alone: OnceLock::new(),
            completes: None,
            opened,
        }
    }

    /// This plan for a stream around another one, which was polled already.
    ///
    /// That one may have ended with a farewell, so another one would follow at its end.
    pub(crate) fn around_another(mut self) -> Self {
        (self.engine.around_another, self.engine.close_at_end) = (true, None);
        self
    }

    /// This plan for streams that are observed.
    pub(crate) fn observed(&self) -> Arc<Self> {
        let observed = self.observed.get_or_init(|| {
            let engine = Settings { observation: Observation::FirstEvent, ..self.engine.clone() };
            Arc::new(Self::new(self.plan.clone(), engine, Arc::clone(&self.opened)))
        });
        Arc::clone(observed)
    }

    /// The dialect of this plan alone, if it has one, for streams that other ones are read from.
    #[cfg(feature = "resume")]
    pub(crate) fn dialect_alone(&self) -> Option<Arc<Self>> {
        let dialect_alone = || {
            let dialect = self.plan.dialect.on()?.passing_failures();
            let plan = Plan { dialect: Setting::On(dialect), ..Plan::default() };
            Some(Arc::new(plan.resolve()))
        };
        self.dialect_alone.get_or_init(dialect_alone).clone()
    }

    /// This plan, which is `own` completed with `outer`.
    pub(crate) fn completing(mut self, own: &Plan, outer: &Arc<Self>) -> Self {
        let hides_nothing = outer.plan.beside(own).is_unset();
        self.completes = hides_nothing.then(|| Arc::clone(outer));
        self
    }

    /// This plan in other words, which hide nothing of a plan further out.
    pub(crate) fn speaking(&self, dialect: Dialect) -> Self {
        let plan = Plan { dialect: Setting::On(dialect), ..self.plan.clone() };
        Self { completes: self.completes.clone(), ..plan.resolve_as(self) }
    }

    /// Whether this plan is known to have everything that is in `outer`. It takes no look at the
    /// settings.
    pub(crate) fn covers(&self, outer: &Self) -> bool {
        std::ptr::eq(self, outer) || self.completes.as_ref().is_some_and(|it| it.covers(outer))
    }

    /// The settings of the streams' engines.
    pub(crate) fn engine(&self) -> &Settings {
        &self.engine
    }

    pub(crate) fn closing(&self) -> Option<&ShutdownSetting> {
        self.plan.shutdown.on()
    }

    pub(crate) fn limit(&self) -> Option<&LimitInner> {
        self.plan.limit.on().map(|setting| &*setting.limit)
    }

    /// The number of a new stream.
    pub(crate) fn next(&self) -> u32 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }
}
