//! Functions of the application that layers call with requests.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::dialect::Notice;
use crate::sync::catch_panic;

/// What the application says about each request.
#[derive(Clone)]
pub(crate) struct RequestFn<T>(Arc<dyn Fn(&Parts) -> T + Send + Sync>);

impl<T> RequestFn<T> {
    pub(crate) fn new<F>(function: F) -> Self
    where
        F: Fn(&Parts) -> T + Send + Sync + 'static,
    {
        Self(Arc::new(function))
    }

    /// What it says about this request. None if it panics, which would take all streams of the
    /// connection along.
    pub(crate) fn ask(&self, request: &Parts) -> Option<T> {
        catch_panic(|| (self.0)(request))
    }
}

impl RequestFn<bool> {
    /// Whether it names this request.
    pub(crate) fn names(&self, request: &Parts) -> bool {
        self.ask(request) == Some(true)
    }
}

impl<T> fmt::Debug for RequestFn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestFn(..)")
    }
}

/// What makes the responses to requests that are refused.
#[derive(Clone)]
pub(crate) struct Refusals(Arc<RefusalOf>);

type RefusalOf = dyn Fn(&Notice, &Parts) -> Option<Response<Bytes>> + Send + Sync;

impl Refusals {
    pub(crate) fn new<F>(refusal: F) -> Self
    where
        F: Fn(&Notice, &Parts) -> Option<Response<Bytes>> + Send + Sync + 'static,
    {
        Self(Arc::new(refusal))
    }

    /// The response that says this, if the function makes one.
    pub(crate) fn response(&self, notice: &Notice, request: &Parts) -> Option<Response<Bytes>> {
        // A panic would take all streams of the connection along.
        catch_panic(|| (self.0)(notice, request)).flatten()
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refusals(..)")
    }
}
