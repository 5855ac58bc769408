//! However clients leave, come back, join and stop a stream: each gets all of it once and in order,
//! and then the end that it had.

use std::time::Duration;

use http::Request;
use proptest::prelude::*;
use tower_sse::resume::{Join, ResumeBody, ResumeKey};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Fail, Hang, Wait};
use crate::harness::bodies::{Script, read};
use crate::harness::resume::{Handled, ask, events, layer, request, seen, service};

#[derive(Clone, Copy, Debug)]
enum Action {
    /// So many halves of a second.
    Wait(u32),
    /// The client of this number, of those that there are.
    Leave(usize),
    Return(usize),
    Join,
    Stop,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..5_u32).prop_map(Action::Wait),
        4 => (0..4_usize).prop_map(Action::Leave),
        4 => (0..4_usize).prop_map(Action::Return),
        2 => Just(Action::Join),
        1 => Just(Action::Stop),
    ]
}

/// What the body does after its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finishes,
    Fails,
    Hangs,
}

const EVENTS: [&str; 5] =
    ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n", "data: 3\n\n", "data: 4\n\n"];

/// An event each second, and the end a second after the last one.
fn steps(count: usize, end: End) -> Vec<Step> {
    let events = EVENTS[..count].iter().flat_map(|event| [Data(event), Wait(SECOND)]);
    let end = match end {
        End::Finishes => None,
        End::Fails => Some(Fail("as scripted")),
        End::Hangs => Some(Hang),
    };
    events.chain(end).collect()
}

#[derive(Default)]
struct Client {
    body: Option<ResumeBody<Script>>,
    data: Vec<String>,
    last: String,
}

impl Client {
    /// Takes what there is.
    async fn take(&mut self) {
        if let Some(body) = &mut self.body {
            let read = read(body, Duration::from_millis(1)).await;
            for (data, id) in events(&read.text()) {
                self.data.push(data);
                self.last = id;
            }
            if read.ended {
                self.body = None;
            }
        }
    }
}

async fn run(count: usize, end: End, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let handled = Handled::default();
    let resume = layer().close_event(20 * SECOND).linger(9999 * SECOND).remember(9999 * SECOND);
    let resume = resume.join(Join::FromBeginning);
    let (handle, key) = (resume.handle(), ResumeKey::new("/answer", "ann"));
    let service = service(resume, &handled, move || steps(count, end));
    let open = async |request: Request<()>| {
        let response = ask::<_, ResumeBody<Script>>(&service, request).await;
        (response.status() == 200).then(|| response.into_body())
    };
    let mut clients = vec![Client { body: open(request(None)).await, ..Client::default() }];
    let began = tokio::time::Instant::now();
    tokio::time::sleep(SECOND / 4).await;
    clients[0].take().await;
    let (mut stopped_at, natural_end) = (None, SECOND * u32::try_from(count).unwrap());
    for action in actions {
        let number = clients.len();
        match action {
            Action::Wait(halves) => tokio::time::sleep(halves * SECOND / 2).await,
            Action::Leave(n) => clients[n % number].body = None,
            Action::Return(n) => {
                let client = &mut clients[n % number];
                client.take().await;
                let has_failed = client.data.last().is_some_and(|last| last.contains("error"));
                if client.body.is_none() && !has_failed {
                    client.body = open(request(Some(&client.last))).await;
                }
            }
            Action::Join => {
                let runs = handle.list("ann").await.unwrap().len();
                let has_ended = end != End::Hangs && began.elapsed() >= natural_end;
                prop_assert_eq!(runs, usize::from(stopped_at.is_none() && !has_ended));
                if runs == 1 && number < 4 {
                    let get = Request::get("/answer").header("x-user", "ann").body(()).unwrap();
                    clients.push(Client { body: open(get).await, ..Client::default() });
                }
            }
            Action::Stop => {
                let stopped = handle.stop(&key).await.unwrap();
                let has_ended = end != End::Hangs && began.elapsed() >= natural_end;
                prop_assert_eq!(stopped, usize::from(stopped_at.is_none() && !has_ended));
                if stopped == 1 {
                    stopped_at = Some(began.elapsed());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        for client in &mut clients {
            client.take().await;
        }
    }

    // If it hangs, nothing but a stop ends it.
    tokio::time::sleep(60 * SECOND).await;
    if stopped_at.is_none() && end == End::Hangs {
        prop_assert_eq!(handle.stop(&key).await.unwrap(), 1);
        stopped_at = Some(began.elapsed());
        tokio::time::sleep(SECOND).await;
    }
    let produced =
        stopped_at.map_or(count, |at| count.min(usize::try_from(at.as_secs()).unwrap() + 1));
    let reason = match (stopped_at, end) {
        (Some(_), _) => "stopped",
        (None, End::Fails) => "error",
        (None, _) => "finished",
    };
    let mut expected: Vec<String> = (0..produced).map(|n| n.to_string()).collect();
    expected.push(format!("{{\"reason\":\"{reason}\"}}"));
    for client in &mut clients {
        client.take().await;
        if client.data.len() < expected.len() {
            client.body = open(request(Some(&client.last))).await;
            client.take().await;
        }
        prop_assert_eq!(&client.data, &expected);
        prop_assert!(client.body.is_none());
    }
    prop_assert_eq!(handled.calls(), 1);
    prop_assert!(handled.dropped() && handle.list("ann").await.unwrap().is_empty());
    let over = seen::<_, ResumeBody<Script>>(&service, request(Some(&clients[0].last)), SECOND / 2);
    let over = over.await.status;
    prop_assert_eq!(over, if reason == "error" { 200 } else { 204 });
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn each_client_gets_all_of_a_stream_once_and_the_end_that_it_had(
        count in 1..=5_usize,
        end in prop_oneof![Just(End::Finishes), Just(End::Fails), Just(End::Hangs)],
        actions in proptest::collection::vec(action(), 0..25),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(count, end, actions))?;
    }
}
