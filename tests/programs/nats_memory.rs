//! What a server of NATS keeps in memory is as much as the documentation says.

use std::fs;

use futures_util::{StreamExt, stream};
use tower_sse::event_log::{EventLog, NatsStorage};

use crate::harness::figures::figure;
use crate::harness::nats::{LONG, Nats, configured, data, settings, topic};
use crate::harness::ports::free_port;
use crate::harness::process::{curl, text};

/// Bytes on the heap of the server, after it was tidied.
async fn heap(nats: &Nats) -> f64 {
    let configuration = fs::read_to_string(nats.directory().join("server.conf")).unwrap();
    let port = configuration.trim_start_matches("prof_port: ");
    let url = format!("http://127.0.0.1:{port}/debug/pprof/heap?gc=1&debug=1");
    let profile = text(&curl(&[&url]).await);
    let heap = profile.lines().find_map(|line| line.strip_prefix("# HeapAlloc = "));
    heap.expect("the profile has it").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_an_event_takes_what_the_documentation_says() {
    const COUNT: u32 = 50_000;
    let nats = Nats::with(|port, directory| {
        configured(port, directory, &format!("prof_port: {}", free_port()))
    });
    let nats = nats.await;
    // The events themselves take no more after the first ones.
    let settings = settings().storage(NatsStorage::Memory).events(100);
    let log = nats.log_with(settings.append_timeout(LONG)).await;
    let append = async |count| {
        let (topic, data) = (&topic("t"), data("x"));
        let appends = stream::iter(0..count).map(|_| log.append(topic, data.clone()));
        let appends = appends.buffer_unordered(64);
        let appends: Vec<_> = appends.collect().await;
        assert!(appends.iter().all(Result::is_ok));
    };
    append(1_000).await;
    let before = heap(&nats).await;
    append(COUNT).await;
    let each = (heap(&nats).await - before) / f64::from(COUNT);
    println!("the id of an event: {each} bytes");
    let said = figure("src/event_log/nats/builder.rs", "of its own: about ", " bytes an event");
    assert!((each / said - 1.0).abs() < 0.2, "{each} is not about {said}");
}
