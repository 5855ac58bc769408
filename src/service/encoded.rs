//! Streams whose bytes cannot be looked at, because they are encoded.

use std::sync::Arc;

use http::Response;
use http::response::Parts;

use super::refusal::{Refusal, refuse};
use super::request::{Done, OuterPlan, PlanReceipt};
use crate::body::SseBody;
use crate::plan::Plan;

/// Lets the stream pass as it is. It takes its part of what may be open all the same, or a cap
/// would hold for some streams only.
pub(super) fn respond<B>(
    asked: &OuterPlan,
    outer: Option<&PlanReceipt>,
    mut head: Parts,
    body: B,
) -> Response<SseBody<B>> {
    let done = head.extensions.get::<Done>().cloned().or_else(|| asked.answer.get());
    let (plan, stream) = done.map(|done| (done.plan, done.stream)).unwrap_or_default();
    let left = asked.resolved.plan.without(&plan).resolve();
    let body = match left.limit().map(|limit| limit.take_to_stay(&asked.key).ok_or(limit)) {
        Some(Ok(slot)) => SseBody::counted(body, slot),
        Some(Err(limit)) => {
            Done { plan: Arc::new(Plan::off()), stream: None }.tell(&mut head, outer);
            return refuse(head, &asked.call, &Refusal::full(limit));
        }
        None => SseBody::plain(body),
    };
    let plan = Plan { limit: left.plan.within(&plan).limit, ..Plan::clone(&plan) };
    Done { plan: Arc::new(plan), stream }.tell(&mut head, outer);
    Response::from_parts(head, body)
}
