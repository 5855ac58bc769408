//! A client without an id joins the stream of its key that runs, and its user sees what runs.

use std::time::SystemTime;

use http::Request;
use tower::Layer;
use tower_sse::event_log::MemoryLog;
use tower_sse::resume::{Join, ResumeKey, RunningStream};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Wait};
use crate::harness::bodies::read;
use crate::harness::resume::{
    Handled, ask, events, handler, layer, request, request_of, seen, service,
};

fn five() -> Vec<Step> {
    ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n", "data: 4\n\n", "data: 5\n\n"]
        .into_iter()
        .flat_map(|event| [Data(event), Wait(SECOND)])
        .collect()
}

fn get(user: &str) -> Request<()> {
    Request::get("/answer").header("x-user", user).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_get_without_an_id_joins_the_stream_that_runs_from_its_beginning_or_from_now() {
    for (join, joined) in
        [(Join::FromBeginning, &["1", "2", "3", "4", "5"][..]), (Join::FromNow, &["4", "5"])]
    {
        let handled = Handled::default();
        let service = service(layer().join(join), &handled, five);
        let first = seen(&service, request(None), SECOND / 2).await;
        tokio::time::sleep(2 * SECOND).await;
        let (one, other) = tokio::join!(
            seen(&service, get("ann"), 10 * SECOND),
            seen(&service, get("ann"), 10 * SECOND),
        );
        assert_eq!((one.data(), one.ended), (strings(joined), true));
        assert_eq!((one.status, &one.headers), (first.status, &first.headers));
        assert_eq!(one, other);
        // It is the same stream: the ids are, too.
        let over = seen(&service, request(Some(&one.last_id())), SECOND).await;
        assert_eq!((over.status, handled.calls()), (204, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_stream_that_has_ended_or_of_another_key_and_posts_begin() {
    let (resume, handled) = (layer().join(Join::FromBeginning), Handled::default());
    let handle = resume.handle();
    let service = service(resume, &handled, five);
    seen(&service, request(None), SECOND / 2).await;
    for (calls, request) in [
        (2, get("bob")),
        (3, Request::get("/other").header("x-user", "ann").body(()).unwrap()),
        (4, request(None)),
    ] {
        assert_eq!(seen(&service, request, SECOND / 2).await.data(), ["1"]);
        assert_eq!(handled.calls(), calls);
    }
    // The one that began last.
    let joined = seen(&service, get("ann"), SECOND / 2).await;
    assert_eq!((joined.data(), handled.calls()), (strings(&["1"]), 4));
    assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 2);
    seen(&service, get("ann"), SECOND / 2).await;
    assert_eq!(handled.calls(), 5, "what is stopped is not joined");
    tokio::time::sleep(10 * SECOND).await;
    seen(&service, get("ann"), SECOND / 2).await;
    assert_eq!(handled.calls(), 6, "what is finished is not joined");
}

#[tokio::test(start_paused = true)]
async fn a_get_with_an_id_resumes_and_one_with_an_id_of_nobody_joins() {
    let handled = Handled::default();
    let service = service(layer().join(Join::FromBeginning), &handled, five);
    let first = seen(&service, request(None), SECOND / 2).await;
    seen(&service, request(None), SECOND / 2).await;
    let nobodys = format!("{}7-1", "1".repeat(23));
    for (id, begins) in [(first.id(0), "2"), (nobodys, "1"), ("7-1".into(), "1")] {
        let mut request = get("ann");
        request.headers_mut().insert("last-event-id", id.parse().unwrap());
        let seen = seen(&service, request, SECOND / 4).await;
        assert_eq!(seen.data()[0], begins);
    }
    assert_eq!(handled.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_joins_from_the_beginning_is_told_of_a_beginning_that_is_lost() {
    let handled = Handled::default();
    let log = MemoryLog::builder().events(2).build().unwrap();
    let resume = layer().buffer(2).join(Join::FromBeginning).log(log);
    let service = resume.layer(handler(&handled, five));
    let mut first = ask(&service, request(None)).await.into_body();
    let first = tokio::spawn(async move { read(&mut first, 10 * SECOND).await.text() });
    tokio::time::sleep(3 * SECOND + SECOND / 2).await;
    let joined = seen(&service, get("ann"), 10 * SECOND).await;
    assert!(joined.text.starts_with("event: gap\n"), "{}", joined.text);
    assert_eq!(joined.data()[1..], ["3", "4", "5"]);
    assert_eq!(events(&first.await.unwrap()).len(), 5);
}

/// It has taken nothing of what was before.
#[tokio::test(start_paused = true)]
async fn a_client_that_joins_from_now_holds_up_nobody() {
    let handled = Handled::default();
    let service = service(layer().buffer(2).join(Join::FromNow), &handled, five);
    let mut first = ask(&service, request(None)).await.into_body();
    let first = tokio::spawn(async move { read(&mut first, 10 * SECOND).await });
    tokio::time::sleep(2 * SECOND + SECOND / 2).await;
    let idle = ask(&service, get("ann")).await;
    tokio::time::sleep(SECOND).await;
    drop(idle);
    let at: Vec<u128> = first.await.unwrap().chunks.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [0, 1000, 2000, 3000, 4000]);
}

#[tokio::test(start_paused = true)]
async fn a_principal_sees_what_runs_for_it_and_nothing_else() {
    let (resume, handled) = (layer(), Handled::default());
    let handle = resume.handle();
    let service = service(resume, &handled, five);
    let began = SystemTime::now();
    let path = |path: &str| Request::post(path).header("x-user", "ann").body(()).unwrap();
    let reading = ask(&service, path("/one")).await;
    let long = format!("/{}", "x".repeat(200));
    let ended = seen(&service, path("/two"), 10 * SECOND).await;
    assert!(ended.ended);
    drop(reading);
    let reading = [ask(&service, path(&long)).await, ask(&service, path("/three")).await];
    seen(&service, request_of("bob", None), SECOND / 2).await;

    let list = handle.list("ann").await.unwrap();
    let keys: Vec<&ResumeKey> = list.iter().map(RunningStream::key).collect();
    let key = |path: &str| ResumeKey::new(path, "ann");
    assert_eq!(keys, [&key(&long), &key("/three")]);
    assert_eq!(keys[1].stream(), "/three");
    assert!(keys[0].stream().starts_with('~') && keys[0].stream().len() == 44);
    for stream in &list {
        assert_eq!(stream.readers(), Some(1));
        assert!(stream.since() >= began && stream.since() <= SystemTime::now());
    }
    drop(reading);
    assert_eq!(handle.list("ann").await.unwrap()[0].readers(), Some(0));
    assert_eq!(handle.list("bob").await.unwrap().len(), 1);
    assert!(handle.list("eve").await.unwrap().is_empty());
    assert_eq!(handle.stop(keys[0]).await.unwrap(), 1);
    assert_eq!(handle.list("ann").await.unwrap().len(), 1);
    tokio::time::sleep(10 * SECOND).await;
    assert!(handle.list("ann").await.unwrap().is_empty());
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
