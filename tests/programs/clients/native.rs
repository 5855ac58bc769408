//! Clients that run in this process, and curl.

use std::pin::pin;
use std::process::Stdio;

use eventsource_stream::Eventsource;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use reqwest_eventsource::{Event, RequestBuilderExt};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tower_sse::wire::Decoder;

use crate::clients::Seen;

/// Reads the stream at an address up to the event whose data has this in it, or to its close event
/// if it is empty. Gives what the client gave.
pub(super) type Read = fn(String, String) -> LocalBoxFuture<'static, Vec<Seen>>;

pub(super) fn reqwest_eventsource(
    url: String,
    until: String,
) -> LocalBoxFuture<'static, Vec<Seen>> {
    let read = async move {
        let mut source = reqwest().get(url).eventsource().expect("a request without a body");
        let mut seen = Vec::new();
        while let Some(event) = source.next().await {
            // An error is told, and it comes back by itself.
            let Ok(Event::Message(event)) = event else { continue };
            let is_over = is_last(&event.event, &event.data, &until);
            seen.push(Seen::new(event.event, event.data, event.id));
            if is_over {
                source.close();
            }
        }
        seen
    };
    read.boxed()
}

pub(super) fn eventsource_stream(url: String, until: String) -> LocalBoxFuture<'static, Vec<Seen>> {
    by_hand(open_eventsource_stream, url, until).boxed_local()
}

async fn open_eventsource_stream(
    url: &str,
    last_event_id: &str,
) -> impl Stream<Item = Seen> + use<> {
    let request = reqwest().get(url).header("last-event-id", last_event_id);
    let response = request.send().await.expect("it answers");
    let events = response.bytes_stream().eventsource();
    // The connection has broken off at an error.
    let events = events.scan((), |(), event| std::future::ready(event.ok()));
    events.map(|event| Seen::new(event.event, event.data, event.id))
}

pub(super) fn curl(url: String, until: String) -> LocalBoxFuture<'static, Vec<Seen>> {
    by_hand(open_curl, url, until).boxed_local()
}

async fn open_curl(url: &str, last_event_id: &str) -> impl Stream<Item = Seen> + use<> {
    let place = format!("Last-Event-ID: {last_event_id}");
    let mut command = Command::new("curl");
    command.args(["-q", "--noproxy", "*", "-sN", "-H", &place, url]).stdin(Stdio::null());
    let curl = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    events_of(curl.expect("`curl` is installed"))
}

/// The events of what a program prints.
fn events_of(program: Child) -> impl Stream<Item = Seen> {
    stream::unfold((program, Decoder::new()), |(mut program, mut decoder)| async move {
        let stdout = program.stdout.as_mut().expect("it is piped");
        let mut bytes = [0; 4096];
        let len = stdout.read(&mut bytes).await.expect("it can be read");
        let events = decoder.decode(&bytes[..len]);
        (len > 0).then_some((events, (program, decoder)))
    })
    .flat_map(|events| {
        stream::iter(events).map(|seen| Seen::new(seen.event, seen.data, seen.last_event_id))
    })
}

/// Opens a stream again and again, each time after the last event that came.
async fn by_hand<S: Stream<Item = Seen>>(
    open: impl AsyncFn(&str, &str) -> S,
    url: String,
    until: String,
) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        // The server takes an empty one for none.
        let last_event_id = seen.last().and_then(|seen| seen.id.clone()).unwrap_or_default();
        let mut events = pin!(open(&url, &last_event_id).await);
        while let Some(event) = events.next().await {
            let is_over = is_last(event.event.as_deref().unwrap_or_default(), &event.data, &until);
            seen.push(event);
            if is_over {
                return seen;
            }
        }
    }
}

fn is_last(event: &str, data: &str, until: &str) -> bool {
    event == "close" || (!until.is_empty() && data.contains(until))
}

fn reqwest() -> reqwest::Client {
    // A proxy of the machine has no business here.
    reqwest::Client::builder().no_proxy().build().expect("settings that hold")
}
