//! A server that sees who asks what, and can break connections in the middle.

#![allow(dead_code, unreachable_pub, reason = "every test uses a part of this")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that sees who asks what. It ends when this is dropped.
#[derive(Debug)]
pub struct Tap {
    address: String,
    noted: Arc<Noted>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Noted {
    asked: Mutex<Vec<Asked>>,
    cut: Mutex<Option<Cut>>,
}

/// A request, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// With its query.
    pub path: String,
    pub last_event_id: Option<String>,
    pub status: u16,
}

/// Where answers break off: after so many bytes, and each time some more.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The paths of which answers do.
    pub below: &'static str,
    pub after: usize,
    pub more: usize,
}

impl Tap {
    pub async fn over(app: Router) -> Self {
        let noted = Arc::new(Noted::default());
        let app = app.layer(from_fn_with_state(Arc::clone(&noted), note));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it has one"));
        let server = tokio::spawn(async { axum::serve(listener, app).await.expect("it serves") });
        Self { address, noted, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// What was asked for below this path, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.noted.asked.lock().expect("nobody panics with it");
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    /// From now on, answers break off.
    pub fn cut(&self, cut: Cut) {
        *self.noted.cut.lock().expect("nobody panics with it") = Some(cut);
    }

    /// From now on, they do not any more.
    pub fn mend(&self) {
        *self.noted.cut.lock().expect("nobody panics with it") = None;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Passes requests on to the server at this address.
pub fn forward_to(address: &str) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let address = address.to_owned();
    Router::new().fallback(async move |mut request: Request| {
        let to = format!("{address}{}", request.uri());
        *request.uri_mut() = to.parse::<Uri>().expect("an address and a path");
        match client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    })
}

async fn note(State(noted): State<Arc<Noted>>, request: Request, next: Next) -> Response {
    let path = request.uri().to_string();
    let last_event_id = last_event_id(request.headers());
    let response = next.run(request).await;
    let mut cut = noted.cut.lock().expect("nobody panics with it");
    let cut = cut.as_mut().filter(|cut| path.starts_with(cut.below)).map(|cut| {
        let left = cut.after;
        cut.after += cut.more;
        left
    });
    let status = response.status().as_u16();
    noted.asked.lock().expect("nobody panics with it").push(Asked { path, last_event_id, status });
    match cut {
        None => response,
        Some(left) => response.map(|body| breaks_off(body, left)),
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(header::HeaderName::from_static("last-event-id"))?;
    Some(String::from_utf8_lossy(id.as_bytes()).into_owned())
}

/// The first bytes of a body, and then an error, at which the connection is closed.
fn breaks_off(body: Body, left: usize) -> Body {
    let chunks = body.into_data_stream();
    Body::from_stream(stream::unfold((chunks, left), |(mut chunks, left)| async move {
        if left == 0 {
            // Or the last bytes are thrown away, and not sent.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Some((Err(io::Error::other("cut")), (chunks, left)));
        }
        let chunk = chunks.next().await?.map_err(io::Error::other);
        let chunk = chunk.map(|chunk| chunk.slice(..chunk.len().min(left)));
        let left = chunk.as_ref().map_or(0, |chunk| left - chunk.len());
        Some((chunk, (chunks, left)))
    }))
}
