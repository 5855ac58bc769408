//! The script of the page, as the application serves it.

use std::time::Duration;

use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use sha2::{Digest, Sha384};
use tower::ServiceExt;
use tower_sse::StaticBody;
use tower_sse::client::{self, ClientScript};

use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen};

fn scripts() -> [(&'static str, ClientScript, Option<&'static str>); 5] {
    [
        ("/tower-sse.js", client::module(), Some(client::MODULE_INTEGRITY)),
        ("/tower-sse.classic.js", client::classic(), Some(client::CLASSIC_INTEGRITY)),
        ("/tower-sse.extras.js", client::extras(), Some(client::EXTRAS_INTEGRITY)),
        (
            "/tower-sse.extras.classic.js",
            client::extras_classic(),
            Some(client::EXTRAS_CLASSIC_INTEGRITY),
        ),
        ("/tower-sse.dev.js", client::development(), None),
    ]
}

async fn ask(
    script: &ClientScript,
    method: Method,
    headers: &[(&str, &str)],
) -> Response<StaticBody> {
    let mut request = Request::builder().method(method).uri("/any/path");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = script.clone().oneshot(request.body(Empty::<Bytes>::new()).unwrap()).await;
    response
}

async fn text(body: StaticBody) -> String {
    let Ok(collected) = body.collect().await;
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

fn named(headers: &HeaderMap) -> Vec<String> {
    let mut headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn a_script_is_what_its_integrity_says() {
    for (path, script, integrity) in scripts() {
        let response = ask(&script, Method::GET, &[]).await;
        let text = text(response.into_body()).await;
        assert!(!text.is_empty(), "{path}");
        if let Some(integrity) = integrity {
            let hash = STANDARD.encode(Sha384::digest(&text));
            assert_eq!(integrity, format!("sha384-{hash}"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_script_is_sent_with_its_type_and_is_asked_for_again_each_time() {
    for (path, script, _) in scripts() {
        let response = ask(&script, Method::GET, &[]).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        let etag = headers["etag"].to_str().unwrap();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 8, "{path}: {etag}");
        assert_eq!(response.body().size_hint().exact(), Some(response_len(&headers)));
        let expected = [
            "cache-control: no-cache".to_owned(),
            format!("content-length: {}", response_len(&headers)),
            "content-type: text/javascript; charset=utf-8".to_owned(),
            format!("etag: {etag}"),
            "x-content-type-options: nosniff".to_owned(),
        ];
        assert_eq!(named(&headers), expected);
        assert_eq!(text(response.into_body()).await.len() as u64, response_len(&headers));
    }
    let tags = scripts().map(|(_, script, _)| async move {
        ask(&script, Method::GET, &[]).await.headers()["etag"].clone()
    });
    let tags = futures_util::future::join_all(tags).await;
    for (n, tag) in tags.iter().enumerate() {
        assert!(!tags[..n].contains(tag), "each has its own");
    }
}

fn response_len(headers: &HeaderMap) -> u64 {
    headers["content-length"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_has_the_script_is_answered_304() {
    let script = client::module();
    let etag = ask(&script, Method::GET, &[]).await.headers()["etag"].clone();
    let etag = etag.to_str().unwrap();
    let (weak, among, other) =
        (format!("W/{etag}"), format!("\"a\", W/\"b\" ,{etag}"), etag.replace('"', ""));
    for (values, known) in [
        (&[etag][..], true),
        (&[&*weak], true),
        (&[&*among], true),
        (&["\"a\"", etag], true),
        (&["*"], true),
        (&["\"a\""], false),
        (&[&*other], false),
        (&[""], false),
        (&[], false),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("if-none-match", *value)).collect();
        for method in [Method::GET, Method::HEAD] {
            let response = ask(&script, method, &headers).await;
            assert_eq!(response.status() == 304, known, "{values:?}");
            if known {
                let expected = ["cache-control: no-cache".to_owned(), format!("etag: {etag}")];
                assert_eq!(named(response.headers()), expected);
                assert_eq!(text(response.into_body()).await, "");
            }
        }
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body_and_other_methods_405() {
    let script = client::classic();
    let get = ask(&script, Method::GET, &[]).await;
    let head = ask(&script, Method::HEAD, &[]).await;
    assert_eq!((head.status().as_u16(), head.headers()), (200, get.headers()));
    assert!(head.body().is_end_stream());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let response = ask(&script, method, &[("if-none-match", "*")]).await;
        assert_eq!(response.status(), 405);
        assert_eq!(named(response.headers()), ["allow: GET, HEAD"]);
        assert!(response.body().is_end_stream());
    }
}

#[tokio::test]
async fn a_time_for_which_nobody_asks_again_is_in_whole_seconds() {
    let script = client::module().max_age(Duration::from_millis(3_600_999));
    for headers in [&[][..], &[("if-none-match", "*")]] {
        let response = ask(&script, Method::GET, headers).await;
        assert_eq!(response.headers()["cache-control"], "max-age=3600");
    }
    let longest = client::module().max_age(Duration::MAX);
    let response = ask(&longest, Method::GET, &[]).await;
    assert_eq!(response.headers()["cache-control"], format!("max-age={}", u64::MAX));
}

/// The files import each other by these names.
#[tokio::test]
async fn scripts_find_each_other_at_their_usual_paths() {
    let mut imported = 0;
    for (path, script, _) in scripts() {
        let text = text(ask(&script, Method::GET, &[]).await.into_body()).await;
        for quoted in text.split(['"', '\'', '`']).filter(|it| it.starts_with("./")) {
            assert_eq!(quoted, "./tower-sse.js", "{path}");
            imported += 1;
        }
    }
    assert!(imported >= 2, "{imported}");
}

#[tokio::test]
async fn routers_of_axum_serve_the_scripts_over_sockets() {
    let mut app = Router::new();
    for (path, script, _) in scripts() {
        app = app.route_service(path, script);
    }
    let (listener, address) = listen().await;
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    for version in [H1, H2] {
        let mut client = Client::connect(address, version).await;
        for (path, script, _) in scripts() {
            let expected = text(ask(&script, Method::GET, &[]).await.into_body()).await;
            let response = client.get(path).await;
            assert_eq!(response.headers()["content-type"], "text/javascript; charset=utf-8");
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(got, expected.as_bytes(), "{path}");
        }
    }
    server.abort();
}
