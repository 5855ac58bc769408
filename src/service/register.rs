//! Registers streams, unless the server drains or has no room.

use std::sync::Arc;

use super::refusal::Refusal;
use super::request::OuterPlan;
use crate::driver::Registrations;
use crate::plan::{LimitSetting, Plan};
use crate::state::{Drain, LimitInner};
use crate::sync::now;

/// Registers the stream where it is not registered yet, unless the server drains or has no room.
///
/// The order makes sure that nothing is seen of a stream that is refused: no drain waits for it, no
/// hook is called, and no older stream is replaced.
pub(super) fn register(
    plan: &Plan,
    asked: &OuterPlan,
    outer_drains: &[Arc<Drain>],
    mut registrations: Registrations,
) -> Result<Registrations, Refusal> {
    match complete(plan, asked, outer_drains, &mut registrations) {
        Ok(()) => Ok(registrations),
        Err(refusal) => {
            registrations.leave(plan);
            Err(refusal)
        }
    }
}

fn complete(
    plan: &Plan,
    asked: &OuterPlan,
    outer_drains: &[Arc<Drain>],
    registrations: &mut Registrations,
) -> Result<(), Refusal> {
    let shutdown = plan.shutdown.on().filter(|_| registrations.shutdown.is_none());
    let drain = shutdown.map(|shutdown| &shutdown.drain);
    if let Some(drain) = drain.into_iter().chain(outer_drains).find(|it| it.refuses(now)) {
        return Err(Refusal::draining(drain));
    }
    if let (Some(LimitSetting { limit, .. }), None) = (plan.limit.on(), &registrations.permit) {
        let permit = asked.made().take_permit().or_else(|| asked.take_early());
        let permit = permit.or_else(|| limit.acquire(&asked.terms.key));
        registrations.permit = Some(permit.ok_or_else(|| Refusal::full(limit))?);
    }
    if let Some(drain) = drain {
        // The drain may have begun since it was asked above. Then the permit is released.
        let registration = drain.register().ok_or_else(|| Refusal::draining(drain))?;
        registrations.shutdown = Some(registration);
    }
    if plan.shutdown.on().is_some() {
        registrations.finish_within = asked.terms.finish_within;
    }
    if let (Some(setting), None) = (plan.registry.on(), &registrations.registry) {
        let (method, path) = (asked.request.method.clone(), asked.request.uri.path());
        registrations.registry = setting.registry.register(asked.terms.label.clone(), method, path);
    }
    if let (Some((_, stats)), Some(shutdown)) = (&registrations.registry, plan.shutdown.on()) {
        stats.set_drain(&shutdown.drain);
    }
    Ok(())
}

/// What would keep a stream with this plan from being served now. A stream that may take the place
/// of another one learns of it when it begins.
pub(super) fn obstacle<'a>(
    plan: &'a Plan,
    asked: &'a OuterPlan,
    outer_drains: &'a [Arc<Drain>],
) -> Option<Obstacle<'a>> {
    let drain = plan.shutdown.on().map(|shutdown| &shutdown.drain);
    if let Some(drain) = drain.into_iter().chain(outer_drains).find(|it| it.refuses(now)) {
        return Some(Obstacle::Drain(drain));
    }
    let limit = &plan.limit.on()?.limit;
    let is_open = limit.replaces() || asked.has_early() || limit.has_room(&asked.terms.key);
    (!is_open).then_some(Obstacle::Limit(limit))
}

/// Why a stream would not be served.
pub(super) enum Obstacle<'a> {
    Drain(&'a Drain),
    Limit(&'a LimitInner),
}

impl Obstacle<'_> {
    /// Counts a refusal.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Drain(drain) => Refusal::draining(drain),
            Self::Limit(limit) => Refusal::full(limit),
        }
    }
}
