//! What passes between layers whose streams are not the same one, since a layer between them keeps
//! the stream of the handler and answers with another.

use std::sync::Arc;

use http::Extensions;
use http_body::Body;

use super::carried::{carried, forget};
use super::early_head::{ToldFailure, take_early_head};
use super::request::OuterPlan;
use crate::dialect::Dialect;
use crate::plan::Setting;
use crate::state::{Drain, LimitInner, PermitLender};

/// Leaves of what layers further out ask for only their dialect, for layers further in whose stream
/// is another one, and have them note in `told` that they told of a failure.
pub(crate) fn separate_request(extensions: &mut Extensions, told: &ToldFailure) {
    extensions.insert(told.clone());
    let asked = extensions.remove::<Arc<OuterPlan>>();
    if let Some(dialect) = asked.and_then(|asked| asked.dialect_alone()) {
        extensions.insert(Arc::new(dialect));
    }
}

/// Removes what layers further in tell of their stream, for layers further out whose stream is
/// another one.
pub(crate) fn separate_response(extensions: &mut Extensions) {
    extensions.remove::<Arc<OuterPlan>>();
    forget(extensions);
    drop(take_early_head(extensions));
}

/// The dialect of the layers that have seen the stream in a response, if they have chosen one.
pub(crate) fn dialect_inside(body: &impl Body, extensions: &Extensions) -> Option<Dialect> {
    match carried(body, extensions).into_link()?.done().dialect() {
        Setting::Unset => None,
        dialect => Some(dialect.on().cloned().unwrap_or_default()),
    }
}

/// What layers further out ask of a task that goes on without its request: their limit, their
/// drain, and their dialect.
#[derive(Clone, Debug)]
pub(crate) struct OuterTask {
    limit: Option<Arc<LimitInner>>,
    pub(crate) drain: Option<Arc<Drain>>,
    pub(crate) dialect: Dialect,
    outer: Arc<OuterPlan>,
}

impl OuterTask {
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let outer = Arc::clone(extensions.get::<Arc<OuterPlan>>()?);
        let plan = &outer.resolved.plan;
        let limit = plan.limit.on().map(|setting| Arc::clone(&setting.limit));
        let drain = plan.shutdown.on().map(|shutdown| Arc::clone(&shutdown.drain));
        Some(Self { limit, drain, dialect: plan.dialect(), outer })
    }

    /// A permit for the task; none if nothing limits it.
    ///
    /// # Errors
    ///
    /// If there is no room.
    pub(crate) fn acquire(&self) -> Result<Option<Arc<PermitLender>>, ()> {
        let Some(limit) = &self.limit else {
            return Ok(None);
        };
        let early = self.outer.take_early();
        let permit = early.or_else(|| limit.acquire(&self.outer.terms.key)).ok_or(())?;
        Ok(PermitLender::new(permit))
    }

    /// Has the layer further out take the task's permit for the client, and none of its own.
    pub(crate) fn lend(&self, lender: &Arc<PermitLender>) {
        let permit = self.limit.as_ref().and_then(|limit| lender.lend(&limit.permits));
        self.outer.made().lend(permit);
    }
}
