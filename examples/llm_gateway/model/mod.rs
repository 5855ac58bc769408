//! Stands for a model that is served by the APIs of OpenAI and Anthropic, and for what can go wrong
//! with one.
//!
//! The name of the model is a script, such as `before=5000,words=20,end=cut`: see [`Script`].

mod api;
mod script;

use std::io;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::sleep;

use api::Api;
use script::{End, Script};

/// The APIs by their paths.
pub(super) fn routes() -> Router {
    let answers = |api| post(async move |Json(asked)| answer(api, asked).await);
    Router::new()
        .route("/v1/chat/completions", answers(Api::Chat))
        .route("/v1/responses", answers(Api::Responses))
        .route("/v1/messages", answers(Api::Messages))
}

/// What is asked of a model, but for the question.
#[derive(Debug, Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    stream: bool,
}

async fn answer(api: Api, asked: Asked) -> Response {
    let Some(script) = Script::parse(&asked.model) else {
        return failed(api, StatusCode::NOT_FOUND, "the name of the model is no script");
    };
    sleep(script.before).await;
    if script.status != StatusCode::OK {
        return failed(api, script.status, "the model is overloaded");
    }
    match asked.stream {
        true => ([(CONTENT_TYPE, "text/event-stream")], streamed(api, script)).into_response(),
        false => Json(api.whole(script.words)).into_response(),
    }
}

fn failed(api: Api, status: StatusCode, message: &str) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], api.error(message)).into_response()
}

fn streamed(api: Api, script: Script) -> Body {
    let Script { after, words, every, end, .. } = script;
    // The head goes out with the first of them.
    let begin = stream::iter([api.begin()]);
    let words = stream::iter(0..words).then(move |n| async move {
        sleep(if n == 0 { after } else { every }).await;
        api.word(n)
    });
    let said = begin.chain(words).filter(|events| std::future::ready(!events.is_empty()));
    let said = said.map(|events| Ok(Bytes::from(events)));
    match end {
        End::Done => Body::from_stream(said.chain(stream::iter([Ok::<_, io::Error>(api.end())]))),
        End::Cut => {
            let cut = io::Error::other("the model is gone");
            Body::from_stream(said.chain(stream::iter([Err(cut)])))
        }
        End::Hang => Body::from_stream(said.chain(stream::pending())),
    }
}
