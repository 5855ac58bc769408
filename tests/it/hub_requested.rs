//! Clients that ask for topics, and get those that they may have.

use std::future::ready;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;
use tower_sse::Hub;
use tower_sse::event_log::{Start, Topics};
use tower_sse::hub::{RequestedTopic, RequestedTopics, Subscription, TopicsRefusal};

use crate::harness::hub::{append, topics};

fn requested(query: &str) -> Result<RequestedTopics, TopicsRefusal> {
    RequestedTopics::of_request(&format!("/events{query}").parse::<Uri>().unwrap())
}

fn texts(requested: &RequestedTopics) -> Vec<&str> {
    requested.iter().map(RequestedTopic::as_str).collect()
}

#[test]
fn a_client_names_its_topics_in_the_query() {
    let many = |count: usize| (0..count).fold(String::new(), |all, n| format!("{all}&topic=t.{n}"));
    #[rustfmt::skip]
    let table: &[(&str, Result<&[&str], StatusCode>)] = &[
        ("?topic=a",                     Ok(&["a"])),
        ("?topic=a&x=y&topic=b.*",       Ok(&["a", "b.*"])),
        ("?topic=orders%2E42&topic=%3E", Ok(&["orders.42", ">"])),
        ("?topic=a&topic=a",             Ok(&["a", "a"])),
        ("",                             Err(StatusCode::BAD_REQUEST)),
        ("?topics=a",                    Err(StatusCode::BAD_REQUEST)),
        ("?topic=",                      Err(StatusCode::BAD_REQUEST)),
        ("?topic=a&topic=a..b",          Err(StatusCode::BAD_REQUEST)),
        ("?topic=a%0Ab",                 Err(StatusCode::BAD_REQUEST)),
        ("?topic=%ff",                   Err(StatusCode::BAD_REQUEST)),
    ];
    for (query, expected) in table {
        let requested = requested(query);
        let got = requested.as_ref().map(texts).map_err(TopicsRefusal::status);
        assert_eq!(got, expected.map(<[_]>::to_vec), "{query}");
    }
    assert_eq!(texts(&requested(&format!("?{}", many(32))).unwrap()).len(), 32);
    assert_eq!(requested(&format!("?{}", many(33))), Err(TopicsRefusal::TooMany));
    let uri = format!("/?{}", many(3)).parse().unwrap();
    assert_eq!(RequestedTopics::<2>::of_request(&uri), Err(TopicsRefusal::TooMany));
    let all = RequestedTopics::<300>::of_request(&format!("/?{}", many(257)).parse().unwrap());
    assert_eq!(all.unwrap().within(&topics(&[">"])), Err(TopicsRefusal::TooMany));
}

#[tokio::test]
async fn a_function_is_asked_for_each_topic_and_pattern_and_one_refusal_refuses_all() {
    let asked = Mutex::new(Vec::new());
    let allow = |text: &'static str| {
        let asked = &asked;
        move |topic: RequestedTopic| {
            asked.lock().unwrap().push(topic.as_str().to_owned());
            ready(topic.as_str() != text)
        }
    };
    let request = || requested("?topic=a&topic=b.*&topic=c").unwrap();
    assert_eq!(request().authorize(allow("")).await, Ok(topics(&["a", "b.*", "c"])));
    assert_eq!(request().authorize(allow("b.*")).await, Err(TopicsRefusal::Forbidden));
    assert_eq!(*asked.lock().unwrap(), ["a", "b.*", "c", "a", "b.*"]);
}

#[tokio::test]
async fn topics_that_a_client_may_not_follow_are_left_out_if_the_application_says_so() {
    let request = || requested("?topic=a&topic=b.*").unwrap();
    let left = request().retain_authorized(|topic| ready(topic.name().is_some())).await;
    assert_eq!(left, Ok(topics(&["a"])));
    let left = request().retain_authorized(|_| ready(false)).await;
    assert_eq!(left, Err(TopicsRefusal::Forbidden));
}

async fn events(
    State(hub): State<Hub>,
    requested: RequestedTopics,
    start: Start,
) -> Result<Subscription, TopicsRefusal> {
    let allowed = Topics::from_static(&["news", "users.7.>"]);
    Ok(hub.subscribe(requested.within(&allowed)?).start(start))
}

#[tokio::test]
async fn a_request_for_a_topic_that_its_client_may_not_follow_is_answered_403_and_nothing_is_followed()
 {
    let hub = Hub::default();
    append(hub.log(), "users.7.mail", "x");
    let topics_before = hub.log().topics();
    let app = Router::new().route("/events", get(events)).with_state(hub.clone());
    for (query, status) in [
        ("topic=news&topic=users.7.*", 200),
        ("topic=news&topic=users.8.mail", 403),
        ("topic=users.*.mail", 403),
        ("topic=%3E", 403),
        ("topic=a..b", 400),
        ("", 400),
    ] {
        let request = Request::get(format!("/events?last_event_id=earliest&{query}"));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{query}");
        if status == 200 {
            let frame = response.into_body().frame().await.unwrap().unwrap();
            assert!(frame.into_data().unwrap().starts_with(b"data: x\n"));
        } else {
            // The text of the request is not in the answer.
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(b"the request names") && !text.contains(&b'8'), "{text:?}");
        }
        assert_eq!(hub.log().topics(), topics_before, "{query}");
    }
}

proptest! {
    #[test]
    fn whatever_a_query_has_it_is_refused_or_stays_within_the_bound(
        query in "(topic=|&|[a.*>%+2Ef]|\\PC){0,40}",
    ) {
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
        if let Ok(requested) = uri.map_err(|_| ()).and_then(|uri| {
            RequestedTopics::<3>::of_request(&uri).map_err(|_| ())
        }) {
            prop_assert!((1..=3).contains(&requested.iter().count()));
            prop_assert!(requested.within(&topics(&[">"])).is_ok());
        }
    }
}
