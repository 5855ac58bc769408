//! What a dialect is made of, and what streams ask it for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::{Dialect, JsonRpcId, Notice};
use crate::engine::{Farewell, Signal, Words};
use crate::wire::CloseReason;

/// What a dialect is made of.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) interval: Duration,
    pub(super) signal: Signal,
    pub(super) opening: Opening,
    pub(super) give_up_after: Option<Duration>,
    pub(super) farewell: Option<Arc<FarewellOf>>,
    pub(super) refusal: Option<Arc<RefusalOf>>,
    /// Of event streams that the server begins by itself. The last value of a name counts.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) json_rpc_id: Option<JsonRpcId>,
    /// Chooses another dialect, for each request.
    pub(super) of_request: Option<Arc<DialectOf>>,
    /// A stream whose body fails fails, too.
    pub(super) passes_failures: bool,
}

pub(super) type FarewellOf = dyn Fn(&Notice) -> Farewell + Send + Sync;
pub(super) type RefusalOf = dyn Fn(&Notice) -> Response<Bytes> + Send + Sync;
pub(super) type DialectOf = dyn Fn(&Parts) -> Dialect + Send + Sync;

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Comment,
    Nothing,
}

impl Spec {
    pub(super) const EVENT_SOURCE: Self = Self {
        name: "event_source",
        interval: INTERVAL,
        signal: Signal::COMMENT,
        opening: Opening::Comment,
        give_up_after: None,
        farewell: None,
        refusal: None,
        headers: Vec::new(),
        json_rpc_id: None,
        of_request: None,
        passes_failures: false,
    };
}

pub(super) static EVENT_SOURCE: Spec = Spec::EVENT_SOURCE;

impl Dialect {
    /// The same dialect for a stream that another one is read from: that one tells its clients of a
    /// failure, and has to learn of it.
    #[cfg(feature = "resume")]
    pub(crate) fn passing_failures(&self) -> Self {
        Self::of(Spec { passes_failures: true, ..self.spec().clone() })
    }

    /// Adds the headers of event streams that the server begins by itself.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.spec().headers {
            headers.insert(name, value.clone());
        }
    }

    /// Whether the last words of streams are others than close events.
    pub(crate) fn has_words(&self) -> bool {
        self.spec().farewell.is_some()
    }

    /// What the last words of streams are, for their engines. None if they are close events.
    pub(crate) fn words(&self) -> Option<Words> {
        let dialect = self.has_words().then(|| self.clone())?;
        Some(Words::new(move |reason, retry| match reason {
            CloseReason::Error if dialect.spec().passes_failures => Farewell::none(),
            _ => dialect.farewell(&Notice { retry, ..Notice::new(reason) }),
        }))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.spec().name
    }

    pub(crate) fn interval(&self) -> Duration {
        self.spec().interval
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.spec().signal
    }

    pub(crate) fn opening(&self) -> Opening {
        self.spec().opening
    }

    pub(crate) fn give_up_after(&self) -> Option<Duration> {
        self.spec().give_up_after
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Half of the shortest idle limit that common proxies have.
const INTERVAL: Duration = Duration::from_secs(15);
