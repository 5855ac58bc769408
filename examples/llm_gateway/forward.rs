//! Passes requests on to the API of the model.

use std::error::Error;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower_sse::Dialect;

use super::error::error;

/// Where requests go, and by what.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    address: Uri,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    pub(super) fn new(address: Uri) -> Self {
        Self { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks for the same path there. Of the headers only the body's go along: the others are
    /// between the client and the gateway, the key first of all.
    async fn ask(&self, request: Request) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let (from, body) = request.into_parts();
        let mut address = self.address.clone().into_parts();
        address.path_and_query = from.uri.path_and_query().cloned();
        let mut request = Request::builder().method(Method::POST).uri(Uri::from_parts(address)?);
        if let Some(content_type) = from.headers.get(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let mut response = self.client.request(request.body(body)?).await?.map(Body::new);
        for hop_by_hop in [CONNECTION, TRANSFER_ENCODING] {
            response.headers_mut().remove(hop_by_hop);
        }
        Ok(response)
    }
}

pub(super) async fn forward(
    State((upstream, dialect)): State<(Upstream, Dialect)>,
    request: Request,
) -> Response {
    match upstream.ask(request).await {
        Ok(response) => response,
        Err(failure) => {
            eprintln!("{}: {failure}", upstream.address);
            error(&dialect, StatusCode::BAD_GATEWAY, "the model does not answer")
        }
    }
}
