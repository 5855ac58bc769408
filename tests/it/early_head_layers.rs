//! A head that does not wait, with other layers around it and inside of it.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use http::{Extensions, Request, Response, StatusCode};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    CloseAtEndLayer, Dialect, DialectLayer, EarlyHeadLayer, EndReason, Event, EventIdLayer,
    EventName, Expiry, Farewell, KeepAliveLayer, Limit, LimitLayer, Registry, RegistryLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang, Wait};
use crate::harness::bodies::{Script, Step, read};
use crate::harness::layers::{Rig, boxed, events};
use crate::harness::rig::{at_once, get};
use crate::harness::thinking::{Cancelled, answer, seen, thinking};

const EVENTS: &str = "text/event-stream";

fn steps() -> Vec<Step> {
    vec![Data("data: a\n\n"), Wait(SECOND), Data("data: b\n\n")]
}

fn endless() -> Vec<Step> {
    steps().into_iter().chain([Hang]).collect()
}

fn early() -> EarlyHeadLayer {
    EarlyHeadLayer::new()
}

fn post() -> Request<()> {
    Request::post("/complete").header("accept", EVENTS).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn keepalives_flow_while_the_handler_thinks() {
    let (handler, _) = thinking(40 * SECOND, answer(200, EVENTS, steps));
    let keep_alive = KeepAliveLayer::every(10 * SECOND).jitter(0.0);
    let service = SseLayer::new().keep_alive(keep_alive).layer(early().layer(handler));
    let seen = seen(&service, get(), 99 * SECOND).await;
    assert_eq!(seen.head.headers["x-accel-buffering"], "no");
    assert_eq!(seen.head.headers["cache-control"], "no-cache, no-transform");
    let expected = [
        (2_000, ":\n"),
        (12_000, ":\n"),
        (22_000, ":\n"),
        (32_000, ":\n"),
        (40_000, "data: a\n\n"),
        (41_000, "data: b\n\n"),
    ];
    assert_eq!(seen.chunks(), expected);
    assert!(seen.read.ended);
}

/// Where layers stand: all of them outside, inside, and all of them on both sides.
#[tokio::test(start_paused = true)]
async fn ids_and_registrations_are_those_of_one_stream_wherever_the_layers_stand() {
    for time in [SECOND, 10 * SECOND] {
        for place in ["outside", "inside", "both", "around boxes"] {
            let rig = Rig::new();
            let (handler, _) =
                thinking(time, answer(200, EVENTS, || vec![Data("data: a\n\n"), Hang]));
            let all = rig.all_in_one();
            let service = match place {
                "outside" => boxed(all.layer(early().layer(handler))),
                "inside" => boxed(early().layer(all.layer(handler))),
                "both" => boxed(all.clone().layer(early().layer(all.layer(handler)))),
                _ => boxed(all.clone().layer(boxed(early().layer(boxed(all.layer(handler)))))),
            };
            let Ok(response) = service.oneshot(get()).await;
            let mut body = response.into_body();
            let head = read(&mut body, 20 * SECOND).await;
            let what = format!("{place}, {time:?}");
            assert_eq!(rig.registry.len(), 1, "{what}");
            let news = Event::new().event(EventName::from_static("news")).data("x");
            assert_eq!(rig.registry.broadcast(news).sent, 1, "{what}");
            let middle = read(&mut body, SECOND).await;
            rig.shutdown.trigger();
            let last = read(&mut body, SECOND).await;
            let text = head.text() + &middle.text() + &last.text();
            let seen: Vec<_> = events(&text).into_iter().filter(|it| it.0 != "beat").collect();
            let expected = [("message", "a", "1"), ("news", "x", "2")]
                .map(|(kind, data, id)| (kind.to_owned(), data.to_owned(), id.to_owned()));
            assert_eq!(seen[..2], expected, "{what}: {text}");
            assert_eq!((seen.len(), &*seen[2].0), (3, "close"), "{what}: {text}");
            assert!(last.ended, "{what}");
            let report = rig.shutdown.drain().await;
            assert_eq!((report.closed, report.streams()), (1, 1), "{what}");
        }
    }
}

/// What no layer further out does.
#[tokio::test(start_paused = true)]
async fn layers_inside_add_what_those_outside_have_not() {
    let (server, tenant) = (Registry::new(), Registry::new());
    let near = SseLayer::off()
        .registry(RegistryLayer::new(tenant.clone()))
        .event_ids(EventIdLayer::sequential());
    let far = SseLayer::new().keep_alive(KeepAliveLayer::off()).registry(server.clone());
    let (handler, _) = thinking(9 * SECOND, answer(200, EVENTS, endless));
    let Ok(response) = far.layer(early().layer(near.layer(handler))).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    read(&mut body, 3 * SECOND).await;
    assert_eq!((server.len(), tenant.len()), (1, 0));
    let text = read(&mut body, 20 * SECOND).await.text();
    assert_eq!((server.len(), tenant.len()), (1, 1));
    assert_eq!(text, "data: a\nid: 1\n\ndata: b\nid: 2\n\n");
    drop(body);
    assert_eq!((server.len(), tenant.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_before_the_answer_is_told_in_the_dialect_and_drops_the_handler() {
    let shutdown = at_once();
    let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, steps));
    let layer = SseLayer::new().dialect(Dialect::openai_chat()).shutdown(shutdown.clone());
    let Ok(response) = layer.layer(early().layer(handler)).oneshot(post()).await;
    let mut body = Box::pin(response.into_body());
    read(&mut body, SECOND).await;
    shutdown.trigger();
    let last = read(&mut body, SECOND).await;
    assert!(last.ended && cancelled.get());
    assert!(last.text().starts_with("event: error\ndata: {\"error\":{"), "{}", last.text());
    assert!(last.text().contains("service_unavailable"), "{}", last.text());
    assert_eq!(shutdown.drain().await.closed, 1);
}

/// Nothing is registered before the head is due.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_due_in_a_drain_or_above_a_limit_is_a_refusal_and_drops_the_handler() {
    let shutdown = at_once();
    let draining = SseLayer::new().shutdown(shutdown.clone());
    let limit = Limit::builder().max(0).build().unwrap();
    let full = SseLayer::new().limit(limit.clone());
    for (layer, status) in
        [(draining, StatusCode::SERVICE_UNAVAILABLE), (full, StatusCode::TOO_MANY_REQUESTS)]
    {
        let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, steps));
        let mut service = layer.layer(early().layer(handler));
        let call = tokio::spawn(service.call(post()));
        sleep(SECOND).await;
        shutdown.trigger();
        let Ok(response) = call.await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("retry-after"));
        assert!(cancelled.get());
    }
    assert_eq!((limit.open(), limit.refused()), (0, 1));
    assert_eq!(shutdown.drain().await.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_one_slot_from_its_early_head_to_its_end() {
    let limit = Limit::new(9);
    let at_handler = LimitLayer::new(limit.clone());
    let before = at_handler.clone().before_handler(|_| true);
    for (name, layer, in_wait) in [("late", at_handler.clone(), 0), ("early", before, 1)] {
        let (handler, _) = thinking(5 * SECOND, answer(200, EVENTS, || vec![Hang]));
        // The same limit inside takes no second slot.
        let service = layer.layer(early().layer(at_handler.layer(handler)));
        let call = tokio::spawn(service.oneshot(get()));
        sleep(SECOND).await;
        assert_eq!(limit.open(), in_wait, "{name}");
        let Ok(response) = call.await.unwrap();
        assert_eq!(limit.open(), 1, "{name}");
        let mut body = Box::pin(response.into_body());
        read(&mut body, 30 * SECOND).await;
        assert_eq!(limit.open(), 1, "{name}");
        drop(body);
        assert_eq!(limit.open(), 0, "{name}");
    }
    // What is no stream gives its slot back when it is told.
    let (handler, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
    let told = seen(&at_handler.layer(early().layer(handler)), get(), 30 * SECOND).await;
    assert!(told.read.ended);
    assert_eq!((limit.open(), limit.refused()), (0, 0));
}

/// A registry that notes why streams end.
fn noting() -> (Registry, Arc<Mutex<Vec<EndReason>>>) {
    let reasons = Arc::<Mutex<Vec<EndReason>>>::default();
    let seen = Arc::clone(&reasons);
    let registry = Registry::builder().on_close(move |_, reason| seen.lock().unwrap().push(reason));
    (registry.build().unwrap(), reasons)
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_wait_has_the_reason_of_a_stream() {
    let (registry, reasons) = noting();
    let layer = SseLayer::new().registry(registry.clone());
    let bounded = early().give_up_after(60 * SECOND);
    for (status, content_type, reason) in [
        (200, EVENTS, EndReason::Finished),
        (200, "application/json", EndReason::Finished),
        (204, "text/plain", EndReason::Finished),
        (503, "text/plain", EndReason::Error),
        (200, "application/grpc", EndReason::Error),
    ] {
        let json = || vec![Data("data: {}\n\n")];
        let (handler, _) = thinking(5 * SECOND, answer(status, content_type, json));
        seen(&layer.clone().layer(bounded.clone().layer(handler)), get(), 99 * SECOND).await;
        assert_eq!(reasons.lock().unwrap().pop(), Some(reason), "{status} {content_type}");
    }
    let never = service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
    seen(&layer.layer(bounded.layer(never)), get(), 99 * SECOND).await;
    assert_eq!(reasons.lock().unwrap().pop(), Some(EndReason::Error), "given up");
    let Ok(response) = layer.layer(early().layer(never)).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    read(&mut body, SECOND).await;
    drop(body);
    assert_eq!(reasons.lock().unwrap().pop(), Some(EndReason::ClientGone));
    assert!(registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_handler_after_the_head_is_that_of_a_body() {
    let (registry, reasons) = noting();
    let limit = Limit::new(9);
    let handler = service_fn(|_: Request<()>| async {
        sleep(5 * SECOND).await;
        panic!("the handler panics, as the test wants");
        #[expect(unreachable_code, reason = "it has a type")]
        Ok::<_, Infallible>(Response::new(Script::new([Hang])))
    });
    let layer = SseLayer::new().registry(registry.clone()).limit(limit.clone());
    let Ok(response) = layer.layer(early().layer(handler)).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    let panics = std::panic::AssertUnwindSafe(read(&mut body, 60 * SECOND)).catch_unwind().await;
    assert!(panics.is_err());
    drop(body);
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
    assert_eq!((limit.open(), registry.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_set_explicitly_wins_over_the_words_of_the_dialect() {
    let (handler, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
    let farewell = Farewell::event(Event::new().event(EventName::from_static("broken")).data("{}"));
    let shutdown = ShutdownLayer::new(Shutdown::new()).farewell_on_error(farewell);
    let layer = SseLayer::new().dialect(Dialect::openai_chat()).shutdown(shutdown);
    let told = seen(&layer.layer(early().layer(handler)), get(), 30 * SECOND).await;
    assert!(told.read.text().contains("event: broken\n"), "{}", told.read.text());
    assert!(!told.read.text().contains("event: error\n"));
}

/// The dialect nearest to the layer is that of its words: its own, or that of the layers around.
#[tokio::test(start_paused = true)]
async fn the_words_are_those_of_the_nearest_dialect() {
    let (handler, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
    let far = SseLayer::new().dialect(Dialect::openai_chat());
    let near = DialectLayer::new(Dialect::anthropic());
    let of_near = far.layer(near.layer(early().layer(handler.clone())));
    let of_near = seen(&of_near, get(), 30 * SECOND).await.read.text();
    assert!(of_near.contains("data: {\"type\":\"error\""), "{of_near}");
    let own = early().dialect(Dialect::anthropic());
    let own = seen(&far.layer(own.layer(handler)), get(), 30 * SECOND).await.read.text();
    assert!(own.contains("data: {\"type\":\"error\""), "{own}");
}

/// The client is told one end.
#[tokio::test(start_paused = true)]
async fn nothing_follows_the_words_of_a_late_answer() {
    let finished = CloseAtEndLayer::new(Farewell::close());
    let (fails, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
    let layer = SseLayer::new().close_at_end(finished);
    let told = seen(&layer.clone().layer(early().layer(fails)), get(), 30 * SECOND).await;
    assert_eq!(told.read.text().matches("event: close").count(), 1, "{}", told.read.text());
    assert!(told.read.text().contains("\"error\""));
    let (json, _) = thinking(5 * SECOND, answer(200, "application/json", || vec![Data("{}")]));
    let told = seen(&layer.layer(early().layer(json)), get(), 30 * SECOND).await;
    assert!(told.read.text().contains("data: {}\n\nevent: close\n"), "{}", told.read.text());
}

/// Whether a head was sent early shows in nothing but the times.
#[tokio::test(start_paused = true)]
async fn a_wait_delays_nothing_of_what_comes_after_it() {
    let began = Instant::now();
    let (handler, cancelled): (_, Cancelled) = thinking(
        3 * SECOND,
        answer(200, EVENTS, || (0..100).map(|_| Data("data: a\n\n")).collect()),
    );
    let service =
        SseLayer::new().event_ids(EventIdLayer::sequential()).layer(early().layer(handler));
    let seen = seen(&service, get(), 30 * SECOND).await;
    let last = events(&seen.read.text()).pop().unwrap();
    assert_eq!((&*last.1, &*last.2), ("a", "100"));
    assert!(!cancelled.get());
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

/// The head of the answer comes too late to say it.
#[tokio::test(start_paused = true)]
async fn an_expiry_of_the_request_ends_the_stream_and_one_of_a_late_answer_is_lost() {
    let until = Expiry::at(SystemTime::now() + Duration::from_secs(40));
    for (seconds, in_request, expires) in
        [(5, true, true), (5, false, false), (1, true, true), (1, false, true)]
    {
        let expiring = move || {
            let mut response = answer(200, EVENTS, endless)();
            response.extensions_mut().extend(if in_request {
                Extensions::new()
            } else {
                with(until)
            });
            response
        };
        let (handler, _) = thinking(seconds * SECOND, expiring);
        let mut request = get();
        request.extensions_mut().extend(if in_request { with(until) } else { Extensions::new() });
        let service = SseLayer::new().layer(early().layer(handler));
        let seen = seen(&service, request, 99 * SECOND).await;
        assert_eq!(seen.read.text().contains("expired"), expires, "{seconds} {in_request}");
        assert_eq!(seen.read.ended, expires);
    }
}

fn with(expiry: Expiry) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(expiry);
    extensions
}

#[tokio::test(start_paused = true)]
async fn of_a_setting_on_both_sides_that_of_the_outer_layer_holds_after_an_early_head() {
    for (think, interval) in [(5, 10), (1, 4)] {
        let every = |seconds: u32| KeepAliveLayer::every(seconds * SECOND).jitter(0.0);
        let (handler, _) = thinking(think * SECOND, answer(200, EVENTS, || vec![Hang]));
        let service = every(10).layer(early().layer(every(4).layer(handler)));
        let Ok(response) = service.oneshot(get()).await;
        let mut body = Box::pin(response.into_body());
        read(&mut body, 20 * SECOND).await;
        let comments = read(&mut body, 100 * SECOND).await.text().matches(":\n").count();
        let expected = 100 / interval;
        assert!((expected - 1..=expected + 1).contains(&comments), "{think}: {comments}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_a_wait_is_none_for_the_stream_that_follows() {
    let (handler, _) =
        thinking(5 * SECOND, answer(200, EVENTS, || vec![Wait(500 * SECOND), Data("data: a\n\n")]));
    let service = early().give_up_after(10 * SECOND).layer(handler);
    let seen = seen(&service, get(), 999 * SECOND).await;
    assert!(seen.is_early() && seen.read.ended);
    assert_eq!(seen.chunks(), [(505_000, "data: a\n\n")]);
}

/// The log of a resumable stream has what a late answer says, for clients that come back.
#[cfg(feature = "resume")]
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_to_a_resumable_stream_is_told_of_a_late_answer() {
    use crate::harness::resume::{layer, request};

    let (handler, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
    let early = early().for_requests(|_| true).dialect(Dialect::openai_chat());
    let service = SseLayer::new().layer(layer().layer(early.layer(handler)));
    let first = seen(&service, request(None), 30 * SECOND).await;
    let told = events(&first.read.text());
    assert_eq!((told.len(), &*told[0].0), (1, "error"), "{}", first.read.text());
    // The id of the event is that of the log.
    assert!(!told[0].2.is_empty());
}
