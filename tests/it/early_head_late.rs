//! What comes after a head that did not wait, and is no event stream, is told in the stream.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_sse::{Dialect, EarlyHeadLayer, Event, Farewell, Notice, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Fail, Flood, Hang, Wait};
use crate::harness::bodies::{Script, Step, read};
use crate::harness::rig::get;
use crate::harness::thinking::{answer, seen, thinking};

/// What a client of a chat completion sees of an answer that comes after five seconds, by the layer
/// alone and with others around it.
async fn told(
    answer: impl Fn() -> Response<Script> + Clone + Send + 'static,
    dialect: Dialect,
) -> String {
    let (handler, _) = thinking(5 * SECOND, answer);
    let early = EarlyHeadLayer::new().give_up_after(60 * SECOND).dialect(dialect.clone());
    let alone = seen(&early.layer(handler.clone()), get(), 99 * SECOND).await;
    let around = SseLayer::new().keep_alive(tower_sse::KeepAliveLayer::off());
    let all = around
        .dialect(dialect)
        .layer(EarlyHeadLayer::new().give_up_after(60 * SECOND).layer(handler));
    let all = seen(&all, get(), 99 * SECOND).await;
    for seen in [&alone, &all] {
        assert!(seen.is_early() && seen.read.ended && seen.read.error.is_none());
    }
    assert_eq!(alone.read.text(), all.read.text());
    alone.read.text()
}

fn json(status: u16, json: &'static str) -> impl Fn() -> Response<Script> + Clone + Send + 'static {
    // In pieces, and with a pause.
    answer(status, "application/json; charset=utf-8", move || {
        let (one, other) = json.split_at(json.len() / 2);
        vec![Data(one), Wait(SECOND), Data(other)]
    })
}

const OPENAI: &str = r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#;
const ANTHROPIC: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

#[tokio::test(start_paused = true)]
async fn an_error_of_the_own_api_is_passed_on_as_it_is() {
    assert_eq!(
        told(json(429, OPENAI), Dialect::openai_chat()).await,
        format!("event: error\ndata: {OPENAI}\n\n")
    );
    assert_eq!(
        told(json(529, ANTHROPIC), Dialect::anthropic()).await,
        format!("event: error\ndata: {ANTHROPIC}\n\n")
    );
    // What is in the words of another API is told in those of the route.
    let other = told(json(529, ANTHROPIC), Dialect::openai_chat()).await;
    assert!(other.contains(r#""message":"the answer came with the status 529""#), "{other}");
    assert!(!other.contains("Overloaded"), "{other}");
}

/// The form of an error in a stream of responses is another than that of a response.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_api_of_responses_is_put_into_the_form_of_its_events() {
    const BUSY: &str = r#""rate_limit_exceeded""#;
    const STATUS: &str = r#""the answer came with the status 429 Too Many Requests""#;
    const WHOLE: &str = r#"{"message":"slow \"down\"","param":"input","code":"too_many"}"#;
    const PART: &str = r#"{"message":"slow","code":null,"n":[1]}"#;
    let event = |[code, message, param, error]: [&str; 4]| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":0,\"code\":{code},\
             \"message\":{message},\"param\":{param},\"error\":{error}}}\n\n"
        )
    };
    #[rustfmt::skip]
    let table = [
        (
            r#"{"error":{"message":"slow \"down\"","param":"input","code":"too_many"}}"#,
            [r#""too_many""#, r#""slow \"down\"""#, r#""input""#, WHOLE],
        ),
        // What it does not say is that of the status.
        (
            r#"{ "error" : {"message":"slow","code":null,"n":[1]}, "id": 1 }"#,
            [BUSY, r#""slow""#, "null", PART],
        ),
        (r#"{"error":{}}"#, [BUSY, STATUS, "null", "{}"]),
    ];
    for (answer, expected) in table {
        let text = told(json(429, answer), Dialect::openai_responses()).await;
        assert_eq!(text, event(expected), "{answer}");
    }
    // What has no error object is told by its status.
    for other in [r#"{"error":"slow down"}"#, r#"{"error":{"message":"#, ANTHROPIC, "[]"] {
        let text = told(json(429, other), Dialect::openai_responses()).await;
        let begin = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":";
        assert!(text.starts_with(begin) && text.contains(STATUS), "{text}");
        assert!(!text.contains("slow down") && !text.contains("Overloaded"), "{text}");
    }
}

/// As those of the crate do, by what it finds in the notice.
#[tokio::test(start_paused = true)]
async fn a_dialect_of_the_application_can_pass_on_the_errors_of_its_api() {
    let code = |notice: &Notice| format!("{{\"code\":{}}}", notice.status.as_u16());
    let dialect = Dialect::builder().farewell(move |notice| {
        let own = notice.answer.as_deref().filter(|json| json.starts_with("{\"code\":"));
        let data = own.map_or_else(|| code(notice), str::to_owned);
        Farewell::event(Event::new().data(data)).bare()
    });
    let dialect = dialect.build();
    let own = told(json(429, r#"{"code":7}"#), dialect.clone()).await;
    assert_eq!(own, "data: {\"code\":7}\n\n");
    assert_eq!(told(json(429, OPENAI), dialect).await, "data: {\"code\":429}\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_with_the_words_of_the_dialect() {
    for (status, said) in [
        (429, "\"rate_limit_exceeded\""),
        (401, "\"invalid_api_key\""),
        (503, "\"service_unavailable\""),
        (500, "\"server_error\""),
        (404, "status 404 Not Found"),
    ] {
        let text = told(answer(status, "text/html", || vec![Hang]), Dialect::openai_chat()).await;
        assert!(text.starts_with("event: error\ndata: {\"error\":{\"message\":\"the answer came"));
        assert!(text.contains(said) && text.contains(&status.to_string()), "{status}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_source_is_told_the_status_and_how_long_to_wait() {
    let busy = || {
        let response = Response::builder().status(503).header("retry-after", "7");
        response.header("x-handler", "its own").body(Script::new([])).unwrap()
    };
    let text = told(busy, Dialect::event_source()).await;
    assert_eq!(text, "event: close\nretry: 7000\ndata: {\"reason\":\"error\",\"status\":503}\n\n");
}

/// Without a clock that agrees a date says nothing.
#[tokio::test(start_paused = true)]
async fn a_retry_after_in_whole_seconds_is_passed_on_and_no_other() {
    for (value, retry) in [
        ("7", "retry: 7000\n"),
        (" 7 ", "retry: 7000\n"),
        ("0", "retry: 1\n"),
        ("99999999999", "retry: 2147483647\n"),
        ("1.5", ""),
        ("-1", ""),
        ("Fri, 31 Dec 1999 23:59:59 GMT", ""),
        ("\u{e9}", ""),
    ] {
        let busy = move || {
            let response = Response::builder().status(503).header("retry-after", value);
            response.header("x-handler", "its own").body(Script::new([])).unwrap()
        };
        let text = told(busy, Dialect::event_source()).await;
        let expected =
            format!("event: close\n{retry}data: {{\"reason\":\"error\",\"status\":503}}\n\n");
        assert_eq!(text, expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn json_of_64_kib_is_passed_on_and_of_one_byte_more_is_told_by_its_status() {
    let begin = r#"{"error":{"message":""#;
    for (len, is_own) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let text = begin.to_owned() + &"x".repeat(len - begin.len() - 3) + "\"}}";
        assert_eq!(text.len(), len);
        let text: &str = text.leak();
        let told = told(json(503, text), Dialect::openai_chat()).await;
        assert_eq!(told == format!("event: error\ndata: {text}\n\n"), is_own, "{len}");
        assert_eq!(told.contains("the answer came with the status 503"), !is_own, "{len}");
    }
}

/// What is told of what is no event stream that can be read.
#[tokio::test(start_paused = true)]
async fn no_byte_of_another_kind_of_body_gets_into_the_stream() {
    let encoded = || {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = response.header("content-encoding", "gzip").header("x-handler", "its own");
        response.body(Script::new([Flood("\u{1f}not to be seen")])).unwrap()
    };
    let text = told(encoded, Dialect::openai_chat()).await;
    assert!(text.contains("the answer is encoded") && !text.contains("not to be seen"), "{text}");
    for (status, content_type) in [
        (200, "application/grpc"),
        (200, "application/x-ndjson"),
        (200, "application/octet-stream"),
        (200, "text/html"),
        (206, "text/event-stream"),
        (304, "text/event-stream"),
        (302, "text/html"),
    ] {
        let flood = || vec![Flood("data: not to be seen\n\n")];
        let text = told(answer(status, content_type, flood), Dialect::openai_chat()).await;
        assert!(text.starts_with("event: error\n"), "{content_type}: {text}");
        assert!(text.contains("the answer is no event stream"), "{content_type}: {text}");
        assert!(!text.contains("not to be seen"), "{content_type}: {text}");
        let text = told(answer(status, content_type, flood), Dialect::event_source()).await;
        assert!(text.contains("{\"reason\":\"error\",\"status\":502}"), "{content_type}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn json_of_success_is_the_data_of_one_event() {
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    for dialect in [Dialect::mcp_2025_11(), Dialect::mcp_2026_07(), Dialect::event_source()] {
        let text = told(json(200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), dialect).await;
        assert_eq!(text, format!("data: {result}\n\n"));
    }
    // JSON over several lines is the data of one event, too.
    let text = told(json(200, "{\n  \"a\": 1\n}"), Dialect::event_source()).await;
    assert_eq!(text, "data: {\ndata:   \"a\": 1\ndata: }\n\n");
    // Without any JSON there is no event.
    let text = told(json(200, " \n"), Dialect::event_source()).await;
    assert!(text.starts_with("event: close\n") && text.contains("\"status\":502"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_nothing_more_to_say_ends_the_stream_as_finished() {
    for status in [204, 205] {
        let text = told(answer(status, "text/plain", Vec::new), Dialect::event_source()).await;
        assert!(text.starts_with("event: close\n"), "{text}");
        assert!(text.contains("data: {\"reason\":\"finished\"}"), "{text}");
        let text = told(answer(status, "text/plain", Vec::new), Dialect::openai_chat()).await;
        assert_eq!(text, "");
    }
}

/// Its length, its time and its failures have no say in what a request costs.
#[tokio::test(start_paused = true)]
async fn json_that_is_too_long_or_never_ends_is_told_by_its_status() {
    let steps: [fn() -> Vec<Step>; 4] = [
        || vec![Flood("{\"error\": \"0123456789abcdef\"}")],
        || vec![Flood("")],
        || vec![Data("{\"error\":"), Fail("upstream")],
        || vec![Data("\u{e9}"), Data("{\"error\":{}}")],
    ];
    for steps in steps.into_iter().take(3) {
        let text = told(answer(503, "application/json", steps), Dialect::openai_chat()).await;
        assert!(text.contains("503"), "{text}");
    }
    let began = tokio::time::Instant::now();
    let hangs = answer(503, "application/json", || vec![Data("{\"error\":"), Hang]);
    let text = told(hangs, Dialect::openai_chat()).await;
    assert!(text.starts_with("event: error\n"), "{text}");
    assert_eq!(began.elapsed(), Duration::from_secs(120), "twice until it is given up");
    let hangs = answer(503, "application/json", || vec![Data("{\"error\":"), Hang]);
    let text = told(hangs, Dialect::event_source()).await;
    assert!(text.contains("{\"reason\":\"timeout\""), "{text}");
    let text = told(answer(200, "application/json", steps[3]), Dialect::openai_chat()).await;
    assert_eq!(text, "data: \u{e9}{\"error\":{}}\n\n");
}

#[tokio::test(start_paused = true)]
async fn json_that_is_no_utf8_is_told_by_its_status() {
    let handler = service_fn(|_: Request<()>| async {
        sleep(5 * SECOND).await;
        let response = Response::builder().header("content-type", "application/json");
        let body = Full::new(Bytes::from_static(b"\"\xff\""));
        Ok::<_, Infallible>(response.body(body.map_err(|never| match never {})).unwrap())
    });
    let text = seen(&EarlyHeadLayer::new().layer(handler), get(), 9 * SECOND).await.read.text();
    assert!(text.starts_with("event: close\n") && text.contains("\"status\":502"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_poll_reads_a_part_of_an_answer_that_is_always_ready() {
    let flood = answer(503, "application/json", || vec![Flood("{}")]);
    let (handler, _) = thinking(5 * SECOND, flood);
    let Ok(response) = EarlyHeadLayer::new().layer(handler).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    sleep(5 * SECOND).await;
    assert!(body.frame().now_or_never().is_none(), "other tasks have their turn");
    assert!(read(&mut body, SECOND).await.ended);
}

/// Only where the head was sent.
#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_never_told() {
    let (handler, _) = thinking(SECOND, json(429, "{\"error\":{}}"));
    let request: Request<()> = get();
    let seen =
        seen(&SseLayer::new().layer(EarlyHeadLayer::new().layer(handler)), request, 9 * SECOND)
            .await;
    assert_eq!((seen.head.status.as_u16(), &*seen.read.text()), (429, "{\"error\":{}}"));
}
