//! The manual's chapter about the wire, on gaps, snapshots and answers that are stopped.

use tower_sse::event_log::{MemoryLog, Start};
use tower_sse::hub::Snapshot;
use tower_sse::wire::Decoder;
use tower_sse::{Event, EventId, Hub};

use crate::harness::hub::{append, id, text, topic};
use crate::manual_wire::{CHAPTER, assert_shown, code, table};

/// What a client is sent first that comes back to a log of 12 events after this id.
fn gap_after(hub: &Hub<MemoryLog>, after: &EventId) -> String {
    let mut body = hub.subscribe(topic("t")).after(after.clone()).into_body();
    let text = text(&mut body);
    let (gap, _) = text.split_once("\n\n").expect("an event");
    format!("{gap}\n\n")
}

#[test]
fn a_gap_is_shown_as_it_is_written_and_its_reasons_are_those_of_the_manual() {
    let log = MemoryLog::builder().events(12).build().unwrap();
    let ids: Vec<EventId> = (1..=19).map(|n| append(&log, "t", &n.to_string())).collect();
    let foreign = append(&MemoryLog::new(), "t", "x");
    let hub = Hub::new(log);
    let (epoch, _) = ids[0].as_str().split_once('-').unwrap();
    assert_shown(&gap_after(&hub, &ids[1]).replace(&format!("{epoch}-"), "7-"));

    let rows = table("reason | meaning");
    assert_eq!(rows.len(), 3, "{rows:?}");
    for row in rows {
        let after = match code(row[0]) {
            "expired" => ids[0].clone(),
            "restarted" => foreign.clone(),
            "unknown" => id("7"),
            other => panic!("the chapter names a reason that no gap has: {other}"),
        };
        let gap = Decoder::new().decode(gap_after(&hub, &after).as_bytes()).remove(0);
        assert_eq!(gap.event, "gap");
        let reason = format!("\"reason\":\"{}\"}}", code(row[0]));
        assert!(gap.data.ends_with(&reason), "{row:?}: {}", gap.data);
    }
    // A client whose id is none at all is told as well.
    let mut body = hub.subscribe(topic("t")).start(Start::Unknown).into_body();
    assert!(text(&mut body).contains("\"reason\":\"unknown\""));
}

#[tokio::test]
async fn the_last_event_of_a_client_without_a_snapshot_is_shown_as_it_is_written() {
    let hub = Hub::new(MemoryLog::new());
    append(hub.log(), "t", "x");
    let snapshot = Snapshot::by(|_| std::future::ready(Err::<Event, _>("there is none")));
    let body = hub.subscribe(topic("t")).after(id("7-3")).snapshot(snapshot);
    assert_shown(&text(&mut body.into_body()));
}

#[cfg(feature = "resume")]
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_stopped_ends_with_the_word_of_the_manual() {
    use crate::harness::SECOND;
    use crate::harness::bodies::Step::{Data, Hang};
    use crate::harness::resume::{Handled, key, layer, request, seen, service};

    let (_, said) = CHAPTER.split_once("writes `close` with the word `").unwrap();
    let (word, _) = said.split_once('`').unwrap();
    for close_event in [None, Some(20 * SECOND)] {
        let resume = match close_event {
            Some(retry) => layer().close_event(retry),
            None => layer(),
        };
        let handle = resume.handle();
        let service = service(resume, &Handled::default(), || vec![Data("data: x\n\n"), Hang]);
        let first = seen(&service, request(None), SECOND).await;
        let (parts, ()) = request(None).into_parts();
        assert_eq!(handle.stop(&key(&parts).unwrap()).await.unwrap(), 1);
        let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
        let mut decoder = Decoder::new();
        let close = decoder.decode(rest.text.as_bytes()).pop().unwrap();
        assert_eq!(close.event, "close");
        assert_eq!(close.data, format!("{{\"reason\":\"{word}\"}}"));
        assert_eq!(decoder.retry(), close_event);
    }
}
