//! An answer that is kept ends in the words of its route, however it ends and whoever reads it.

use http::{HeaderName, HeaderValue, Method};
use tower::{Layer, ServiceExt};
use tower_sse::event_log::MemoryLog;
use tower_sse::resume::{Finished, Join, ResumeKey};
use tower_sse::wire::Decoder;
use tower_sse::{
    CloseReason, Dialect, DialectLayer, EarlyHeadLayer, Event, Farewell, JsonRpcId, KeepAliveLayer,
    Limit, NoBufferLayer, SseLayer,
};

use crate::dialect_words;
use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Fail, Hang, Wait};
use crate::harness::bodies::read;
use crate::harness::layers::{Boxed, boxed};
use crate::harness::resume::{Handled, Seen, ask, handler, layer, request, request_of, seen};
use crate::harness::rig::at_once;
use crate::harness::thinking::{answer, thinking};

/// Name and data of an event.
type Said = (&'static str, &'static str);

/// What each dialect says of an answer that is kept.
struct Ends {
    dialect: Dialect,
    error: &'static [Said],
    stopped: &'static [Said],
    /// Where the end of a stream is told.
    finished: &'static [Said],
    /// With a `retry`.
    is_bare: bool,
}

const fn bare(
    dialect: Dialect,
    error: &'static [Said],
    stopped: &'static [Said],
    finished: &'static [Said],
) -> Ends {
    Ends { dialect, error, stopped, finished, is_bare: true }
}

#[rustfmt::skip]
fn all() -> [Ends; 12] {
    const REMOVAL: Said = ("message", "<div id=\"progress\" hx-swap-oob=\"delete\"></div>");
    const CLOSE: [Said; 3] = [
        ("close", r#"{"reason":"error"}"#),
        ("close", r#"{"reason":"stopped"}"#),
        ("close", r#"{"reason":"finished"}"#),
    ];
    const DONE: Said = ("message", "[DONE]");
    const COMPLETE: Said = ("complete", "");
    [
        Ends {
            dialect: Dialect::event_source(),
            error: &[CLOSE[0]], stopped: &[CLOSE[1]], finished: &[CLOSE[2]],
            is_bare: false,
        },
        bare(
            Dialect::openai_chat(),
            &[("error", r#"{"error":{"message":"the stream failed","type":"server_error","param":null,"code":"server_error"}}"#)],
            &[("error", r#"{"error":{"message":"the stream was stopped","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#)],
            &[],
        ),
        bare(
            Dialect::openai_chat_unnamed(),
            &[("message", r#"{"error":{"message":"the stream failed","type":"server_error","param":null,"code":"server_error"}}"#)],
            &[("message", r#"{"error":{"message":"the stream was stopped","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#)],
            &[],
        ),
        bare(
            Dialect::openai_responses(),
            &[("error", r#"{"type":"error","sequence_number":0,"code":"server_error","message":"the stream failed","param":null,"error":{"message":"the stream failed","type":"server_error","param":null,"code":"server_error"}}"#)],
            &[("error", r#"{"type":"error","sequence_number":0,"code":"invalid_request","message":"the stream was stopped","param":null,"error":{"message":"the stream was stopped","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#)],
            &[],
        ),
        bare(
            Dialect::anthropic(),
            &[("error", r#"{"type":"error","error":{"type":"api_error","message":"the stream failed"}}"#)],
            &[("error", r#"{"type":"error","error":{"type":"invalid_request_error","message":"the stream was stopped"}}"#)],
            &[],
        ),
        Ends {
            dialect: Dialect::mcp_2025_11(),
            error: &[("message", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the stream failed"}}"#)],
            stopped: &[("message", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the stream was stopped"}}"#)],
            finished: &[],
            is_bare: false,
        },
        bare(
            Dialect::mcp_2026_07(),
            &[("message", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the stream failed"}}"#)],
            &[("message", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the stream was stopped"}}"#)],
            &[],
        ),
        bare(
            Dialect::ag_ui(),
            &[("message", r#"{"type":"RUN_ERROR","message":"the stream failed","code":"error"}"#)],
            &[("message", r#"{"type":"RUN_ERROR","message":"the stream was stopped","code":"stopped"}"#)],
            &[],
        ),
        bare(
            Dialect::a2a(),
            &[("error", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the stream failed"}}"#)],
            &[("error", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the stream was stopped"}}"#)],
            &[],
        ),
        bare(
            Dialect::vercel_ui_message(),
            &[("message", r#"{"type":"error","errorText":"the stream failed"}"#), DONE],
            &[("message", r#"{"type":"abort","reason":"the stream was stopped"}"#), DONE],
            &[],
        ),
        bare(
            Dialect::graphql_sse(),
            &[("next", r#"{"errors":[{"message":"the stream failed","extensions":{"code":"ERROR"}}]}"#), COMPLETE],
            &[("next", r#"{"errors":[{"message":"the stream was stopped","extensions":{"code":"STOPPED"}}]}"#), COMPLETE],
            &[COMPLETE],
        ),
        Ends {
            dialect: Dialect::htmx("progress"),
            error: &[REMOVAL, CLOSE[0]], stopped: &[REMOVAL, CLOSE[1]], finished: &[REMOVAL, CLOSE[2]],
            is_bare: false,
        },
    ]
}

/// Layers of a route with this dialect, which say nothing else.
fn route(dialect: &Dialect) -> SseLayer {
    SseLayer::new().keep_alive(KeepAliveLayer::off()).dialect(dialect.clone())
}

fn one_then(last: fn() -> Step) -> impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static {
    move || vec![Data("data: 1\n\n"), Wait(2 * SECOND), last()]
}

fn failing() -> impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static {
    one_then(|| Fail("upstream"))
}

fn hanging() -> impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static {
    one_then(|| Hang)
}

/// Names and data of the events after the first one.
fn last_of(text: &str) -> Vec<(String, String)> {
    let events = Decoder::new().decode(text.as_bytes()).into_iter().skip(1);
    events.map(|event| (event.event, event.data)).collect()
}

fn said(events: &[Said]) -> Vec<(String, String)> {
    events.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_that_fails_ends_with_the_error_of_each_dialect_for_all_its_readers() {
    for Ends { dialect, error, .. } in all() {
        let handled = Handled::default();
        let service = route(&dialect).layer(layer().layer(handler(&handled, failing())));
        let first = seen(&service, request(None), 9 * SECOND).await;
        assert_eq!(last_of(&first.text), said(error), "{dialect:?}");
        assert!(first.ended && !first.text.contains("retry: "), "{dialect:?}");
        // Its events are those of the log: a client that missed them has them again.
        assert_eq!(first.text.matches("\nid: ").count(), 1 + error.len(), "{dialect:?}");
        let again = seen(&service, request(Some(&first.id(0))), 9 * SECOND).await;
        assert!(first.text.ends_with(&again.text) && !again.text.is_empty(), "{dialect:?}");
        assert_eq!(handled.calls(), 1, "{dialect:?}");
        // Another try may succeed.
        let anew = seen(&service, request(Some(&first.last_id())), SECOND).await;
        assert_eq!((anew.data(), handled.calls()), (vec!["1".to_owned()], 2), "{dialect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_that_is_stopped_or_finished_ends_in_the_words_of_each_dialect() {
    for Ends { dialect, stopped, finished, is_bare, .. } in all() {
        for close_event in [None, Some(20 * SECOND)] {
            let what = format!("{dialect:?} {close_event:?}");
            let resume = match close_event {
                Some(retry) => layer().close_event(retry),
                None => layer(),
            };
            let handle = resume.handle();
            let handled = Handled::default();
            let service = route(&dialect).layer(resume.clone().layer(handler(&handled, hanging())));
            let mut body = ask(&service, request(None)).await.into_body();
            tokio::time::sleep(SECOND).await;
            assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
            let got = read(&mut body, SECOND).await;
            assert_eq!((last_of(&got.text()), got.ended), (said(stopped), true), "{what}");
            let has_retry = got.text().contains("retry: 20000\n");
            assert_eq!(has_retry, close_event.is_some() && !is_bare, "{what}");

            let service = route(&dialect)
                .layer(resume.layer(handler(&handled, || vec![Data("data: 1\n\n")])));
            let whole = seen(&service, request_of("bob", None), SECOND).await;
            let told = if close_event.is_some() { finished } else { &[] };
            assert_eq!((last_of(&whole.text), whole.ended), (said(told), true), "{what}");
            let has_retry = whole.text.contains("retry: 20000\n");
            assert_eq!(has_retry, !told.is_empty() && !is_bare, "{what}");
            let over = seen(&service, request_of("bob", Some(&whole.last_id())), SECOND).await;
            assert_eq!(over.status, 204, "{what}");
        }
    }
}

/// The layers around say these, as they do where nothing is kept.
#[tokio::test(start_paused = true)]
async fn a_reader_of_a_kept_answer_is_drained_and_refused_in_the_words_of_each_dialect() {
    for words in dialect_words::all() {
        let dialect = words.dialect;
        let (shutdown, handled) = (at_once(), Handled::default());
        let resume = layer();
        let layers = route(&dialect).shutdown(shutdown.clone());
        let service = layers.layer(resume.clone().layer(handler(&handled, hanging())));
        let mut body = ask(&service, request(None)).await.into_body();
        let first = read(&mut body, SECOND).await.text();
        shutdown.trigger();
        let last = read(&mut body, SECOND).await;
        assert!(last.ended, "{dialect:?}");
        let drained = events_of(words.drain);
        assert_eq!(last_of(&(first.clone() + &last.text())), drained, "{dialect:?}");
        let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();

        let full = Limit::builder().max(0).retry(SECOND..=SECOND).build().unwrap();
        let full = route(&dialect).limit(full).layer(resume.layer(handler(&handled, hanging())));
        for (service, refusal) in
            [(boxed(service.clone()), words.draining), (boxed(full), words.limit)]
        {
            let refused = seen(&service, request(Some(id)), SECOND).await;
            assert_eq!((refused.status, &*refused.text), (refusal.status, refusal.body));
        }
    }
}

fn events_of(text: &str) -> Vec<(String, String)> {
    let events = Decoder::new().decode(text.as_bytes()).into_iter();
    events.map(|event| (event.event, event.data)).collect()
}

/// Two nodes with the dialects of their routes.
fn nodes(
    dialects: [&Dialect; 2],
    steps: impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static,
) -> [Boxed; 2] {
    let log = MemoryLog::new();
    dialects.map(|dialect| {
        let resume = layer().linger(99 * SECOND).buffer_bytes(1000);
        let resume = resume.log(log.clone()).other_nodes(SECOND);
        boxed(route(dialect).layer(resume.layer(handler(&Handled::default(), steps.clone()))))
    })
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_another_node_has_the_last_words_of_the_node_and_else_its_own() {
    for Ends { dialect, error, .. } in all() {
        // Written into the log, by the node that reads the handler's body.
        let [one, other] = nodes([&dialect, &Dialect::default()], failing());
        let id = seen(&one, request(None), SECOND).await.id(0);
        let rest = seen(&other, request(Some(&id)), 20 * SECOND).await;
        assert_eq!((events_of(&rest.text), rest.ended), (said(error), true), "{dialect:?}");

        // The log has no words for the end of what cannot be kept. The client keeps its position.
        let long: &str = format!("data: {}\n\n", "x".repeat(2000)).leak();
        let steps = move || vec![Data("data: 1\n\n"), Wait(2 * SECOND), Data(long), Hang];
        let [one, other] = nodes([&Dialect::default(), &dialect], steps);
        let mut there = ask(&one, request(None)).await.into_body();
        let first = read(&mut there, SECOND).await.text();
        let id = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        let (rest, _) = tokio::join!(
            seen(&other, request(Some(id)), 20 * SECOND),
            read(&mut there, 5 * SECOND),
        );
        assert_eq!((events_of(&rest.text), rest.ended), (said(error), true), "{dialect:?}");
        assert!(!rest.text.contains("id: ") && !rest.text.contains("retry: "), "{}", rest.text);
    }
}

/// Whoever reads it: the response is that to the request.
#[tokio::test(start_paused = true)]
async fn a_kept_answer_names_the_request_of_json_rpc_that_began_it() {
    let resume = layer().join(Join::FromBeginning);
    let handle = resume.handle();
    let dialect = Dialect::for_request(|request| {
        Dialect::a2a().json_rpc_id(request.extensions.get::<JsonRpcId>().cloned())
    });
    let service = route(&dialect).layer(resume.layer(handler(&Handled::default(), hanging())));
    let mut post = request(None);
    post.extensions_mut().insert(JsonRpcId::from("first"));
    let _first = ask(&service, post).await;
    let mut get = request(None);
    *get.method_mut() = Method::GET;
    get.extensions_mut().insert(JsonRpcId::from("second"));
    let mut joined = ask(&service, get).await.into_body();
    tokio::time::sleep(SECOND).await;
    handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap();
    let text = read(&mut joined, SECOND).await.text();
    let error = r#"{"jsonrpc":"2.0","id":"first","error":{"code":-32000,"message":"the stream was stopped"}}"#;
    assert_eq!(last_of(&text), said(&[("error", error)]));
}

/// As a model that says nothing for long, and then fails.
#[tokio::test(start_paused = true)]
async fn an_early_head_inside_speaks_the_dialect_of_the_layers_around() {
    for (dialect, told) in [
        (Dialect::openai_chat(), "event: error\ndata: {\"error\":{\"message\":\"the answer came"),
        (Dialect::vercel_ui_message(), "data: {\"type\":\"error\",\"errorText\":\"the answer came"),
    ] {
        let (thinks, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
        let early = EarlyHeadLayer::new().for_requests(|_| true);
        let service = route(&dialect).layer(layer().layer(early.layer(thinks)));
        let first = seen(&service, request(None), 9 * SECOND).await;
        assert!(first.text.contains(told), "{}", first.text);
        assert!(!first.text.contains("event: close"), "{}", first.text);
    }
}

/// Its client may try again. An answer that came late and says no error is a whole one.
#[tokio::test(start_paused = true)]
async fn a_late_error_that_an_early_head_inside_tells_is_a_failure_of_the_kept_answer() {
    let get = |id: Option<&str>| {
        let mut get = request(id);
        *get.method_mut() = Method::GET;
        get.headers_mut().insert("accept", HeaderValue::from_static("text/event-stream"));
        get
    };
    let early = EarlyHeadLayer::new;
    for (status, early, told, again_status) in [
        (503, early(), r#"{"reason":"error","status":503}"#, 200),
        (200, early().give_up_after(4 * SECOND), r#"{"reason":"timeout"}"#, 200),
        (200, early().give_up_after(SECOND), r#"{"reason":"timeout"}"#, 200),
        (200, early(), "{}", 204),
    ] {
        for between in [SseLayer::off(), SseLayer::new()] {
            let json = answer(status, "application/json", || vec![Data("{}")]);
            let inside = between.layer(early.layer(thinking(5 * SECOND, json).0));
            let service = layer().close_event(SECOND).layer(inside);
            let first = seen(&service, get(None), 9 * SECOND).await;
            let end = Decoder::new().decode(first.text.as_bytes()).into_iter();
            let end: Vec<_> = end.map(|event| event.data).collect();
            let finished = (again_status == 204).then_some(r#"{"reason":"finished"}"#);
            let expected: Vec<_> = [told].into_iter().chain(finished).collect();
            assert!(first.ended, "{}", first.text);
            assert_eq!(end, expected, "{status}");
            let again = seen(&service, get(Some(&first.last_id())), 9 * SECOND).await;
            assert_eq!(
                (again.status, again.text.contains(told)),
                (again_status, again_status == 200)
            );
        }
    }
}

/// The layer further out would take its clean end for that of a whole answer.
#[tokio::test(start_paused = true)]
async fn a_failure_that_a_kept_answer_inside_tells_is_one_of_the_kept_answer_around_it() {
    let handled = Handled::default();
    let late = answer(503, "application/json", || vec![Data("{}")]);
    let early = EarlyHeadLayer::new().for_requests(|_| true);
    for inside in [
        boxed(layer().layer(handler(&handled, failing()))),
        boxed(layer().layer(early.layer(thinking(5 * SECOND, late).0))),
    ] {
        let around = layer();
        let service = around.layer(inside);
        let first = seen(&service, request(None), 9 * SECOND).await;
        assert!(first.ended && first.text.contains(r#""reason":"error""#), "{}", first.text);
        let again = seen(&service, request(Some(&first.last_id())), 9 * SECOND).await;
        assert_eq!(again.status, 200, "{}", again.text);
    }
    assert_eq!(handled.calls(), 2);
}

/// The wait is a part of the stream. It has no id yet, so a client can only join it.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_handler_of_a_kept_answer_thinks_cancels_it_before_the_head()
{
    for (leaves_after, is_cancelled) in [(SECOND, true), (5 * SECOND, false)] {
        let events = || vec![Data("data: 1\n\n")];
        let (thinks, cancelled) = thinking(20 * SECOND, answer(200, "text/event-stream", events));
        let early = EarlyHeadLayer::new().for_requests(|_| true);
        let service = layer().join(Join::FromBeginning).layer(early.layer(thinks));
        let first = tokio::spawn(service.clone().oneshot(request(None)));
        tokio::time::sleep(leaves_after).await;
        first.abort();
        drop(first.await);
        tokio::time::sleep(SECOND).await;
        assert_eq!(cancelled.get(), is_cancelled, "{leaves_after:?}");
        let joined = seen(&service, request(None), 30 * SECOND).await;
        assert_eq!((joined.data(), joined.ended), (vec!["1".to_owned()], true));
    }
}

/// They are not told of the failure, or it would be taken for the end of the answer.
#[tokio::test(start_paused = true)]
async fn layers_inside_speak_the_dialect_and_pass_a_failure_on() {
    let handled = Handled::default();
    let inside = NoBufferLayer::new().layer(handler(&handled, failing()));
    let service = route(&Dialect::openai_chat()).layer(layer().layer(inside));
    let first = seen(&service, request(None), 9 * SECOND).await;
    assert_eq!(first.text.matches("event: error\n").count(), 1, "{}", first.text);
    seen(&service, request(Some(&first.last_id())), SECOND).await;
    assert_eq!(handled.calls(), 2, "it is not taken for finished");

    let silent = KeepAliveLayer::every(SECOND / 2).give_up_after(5 * SECOND);
    let inside = silent.layer(handler(&handled, hanging()));
    let service = route(&Dialect::openai_chat()).layer(layer().layer(inside));
    let text = seen(&service, request(None), 20 * SECOND).await.text;
    assert!(text.contains("event: error\n") && text.contains("\"timeout\""), "{text}");
}

/// As before this layer knew of dialects.
#[tokio::test(start_paused = true)]
async fn a_dialect_inside_is_known_for_the_streams_that_begin_there() {
    let (resume, handled) = (layer(), Handled::default());
    let handle = resume.handle();
    let inside = DialectLayer::new(Dialect::anthropic()).layer(handler(&handled, hanging()));
    let service = resume.layer(inside);
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap();
    let text = read(&mut body, SECOND).await.text();
    assert!(text.contains("event: error\ndata: {\"type\":\"error\""), "{text}");

    let off = DialectLayer::off().layer(handler(&handled, failing()));
    let service = route(&Dialect::anthropic()).layer(layer().layer(off));
    let text = seen(&service, request(None), 9 * SECOND).await.text;
    assert!(text.contains("event: close\ndata: {\"reason\":\"error\"}"), "{text}");
}

/// A log cannot fail as a body does, and an end without a word looks like a whole answer.
#[tokio::test(start_paused = true)]
async fn a_failure_that_a_dialect_has_no_words_for_is_told_as_by_default() {
    let silent = Dialect::builder().farewell(|_| Farewell::none()).build();
    let panics = Dialect::builder().farewell(|_| panic!("as the test wants")).build();
    for dialect in [silent, panics] {
        let service = route(&dialect).layer(layer().layer(handler(&Handled::default(), failing())));
        let text = seen(&service, request(None), 9 * SECOND).await.text;
        assert!(text.contains("event: close\ndata: {\"reason\":\"error\"}"), "{text}");
    }
}

/// The words of an application are kept as the events of its handler are.
#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_application_are_kept_without_an_id_or_a_comment_of_their_own() {
    let own = Dialect::builder().farewell(|notice| match notice.reason {
        CloseReason::Error => {
            let id = tower_sse::EventId::from_static("own");
            Farewell::events([
                Event::new().data("a\nb"),
                Event::new().comment("c").id(id).data("d"),
            ])
        }
        _ => Farewell::bytes(": c\r\nid: own\r\ndata: e\r\n\r\ndata: half"),
    });
    let dialect = own.build();
    let resume = layer();
    let handle = resume.handle();
    let service = route(&dialect).layer(resume.layer(handler(&Handled::default(), failing())));
    let Seen { text, .. } = seen(&service, request(None), 9 * SECOND).await;
    assert_eq!(last_of(&text), said(&[("message", "a\nb"), ("message", "d")]));
    assert!(!text.contains("own") && !text.contains(": c"), "{text}");
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap();
    let text = read(&mut body, SECOND).await.text();
    assert_eq!(last_of(&text), said(&[("message", "e")]));
    assert!(!text.contains("own") && !text.contains("half"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn responses_to_clients_that_come_back_have_the_headers_of_the_dialect() {
    let dialect = Dialect::builder()
        .header(HeaderName::from_static("x-handler"), HeaderValue::from_static("not this"))
        .header(HeaderName::from_static("x-stream"), HeaderValue::from_static("v0"))
        .header(HeaderName::from_static("x-stream"), HeaderValue::from_static("v1"))
        .build();
    let resume = layer().finished(Finished::Close(SECOND));
    let whole = handler(&Handled::default(), || vec![Data("data: 1\n\n"), Data("data: 2\n\n")]);
    let service = route(&dialect).layer(resume.layer(whole));
    let first = seen(&service, request(None), SECOND).await;
    assert!(!first.headers.iter().any(|header| header.starts_with("x-stream")), "its own head");
    let again = seen(&service, request(Some(&first.id(0))), SECOND).await;
    let over = seen(&service, request(Some(&first.id(1))), SECOND).await;
    assert!(again.text.starts_with("data: 2\n") && over.text.starts_with("event: close\n"));
    for back in [&again, &over] {
        assert!(back.headers.contains(&"x-stream: \"v1\"".to_owned()), "{:?}", back.headers);
    }
    assert!(again.headers.contains(&"x-handler: \"its own\"".to_owned()), "{:?}", again.headers);
}
