//! Dialects that depend on the request.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;

use super::spec::{DialectOf, Spec};
use super::{Dialect, JsonRpcId, Notice};
use crate::sync::catch_panic;

impl Dialect {
    /// The dialect that the function chooses for each request.
    ///
    /// It is for a path with more than one API, and for words that depend on the request. The two
    /// revisions of MCP, for instance, are told from each other by a header:
    ///
    /// ```
    /// use tower_sse::{Dialect, SseLayer};
    ///
    /// let dialect = Dialect::for_request(|request| {
    ///     match request.headers.get("mcp-protocol-version") {
    ///         Some(version) if *version >= *"2026-07-28" => Dialect::mcp_2026_07(),
    ///         _ => Dialect::mcp_2025_11(),
    ///     }
    /// });
    /// let layer = SseLayer::new().dialect(dialect);
    /// ```
    ///
    /// The function is called once for each request and layer. It may look into the extensions,
    /// where a layer further out has left what it knows of the request. If it panics, or returns a
    /// dialect that is made by this function, too, it is [`event_source`](Self::event_source).
    #[must_use]
    pub fn for_request<F>(dialect: F) -> Self
    where
        F: Fn(&Parts) -> Self + Send + Sync + 'static,
    {
        let of_request = Some(Arc::new(dialect) as Arc<DialectOf>);
        Self::of(Spec { name: "for_request", of_request, ..Spec::EVENT_SOURCE })
    }

    /// The same dialect, in responses to the request of JSON-RPC with this id.
    ///
    /// [`a2a`](Self::a2a) and those of MCP write it where it is null otherwise. Others find it in
    /// [`Notice::json_rpc_id`]. [`JsonRpcId`] shows where it comes from. That of a dialect which
    /// [`for_request`](Self::for_request) chooses wins over one that is set after it.
    #[must_use]
    pub fn json_rpc_id(self, id: impl Into<Option<JsonRpcId>>) -> Self {
        Self::of(Spec { json_rpc_id: id.into(), ..self.spec().clone() })
    }

    /// The notice with the id of the request.
    pub(super) fn respond<'a>(&self, notice: &'a Notice) -> Cow<'a, Notice> {
        match (&self.spec().json_rpc_id, &notice.json_rpc_id) {
            (Some(id), None) => {
                Cow::Owned(Notice { json_rpc_id: Some(id.clone()), ..notice.clone() })
            }
            _ => Cow::Borrowed(notice),
        }
    }

    /// Whether it is another dialect for each request.
    pub(crate) fn depends_on_request(&self) -> bool {
        self.spec().of_request.is_some()
    }

    /// The dialect for this request.
    pub(crate) fn of_request(&self, request: &Parts) -> Self {
        match &self.spec().of_request {
            Some(choose) => {
                let chosen = catch_panic(|| choose(request)).unwrap_or_default();
                match (&self.spec().json_rpc_id, &chosen.spec().json_rpc_id) {
                    (Some(id), None) => chosen.json_rpc_id(id.clone()),
                    _ => chosen,
                }
            }
            None => self.clone(),
        }
    }
}
