//! What cannot be replayed is said, whatever the cause, and nothing is said of other topics.

use tower_sse::event_log::{EventLog, GapPolicy, GapReason, MemoryLog, Start};
use tower_sse::wire::Decoder;
use tower_sse::{EventId, Hub};

use crate::harness::SECOND;
use crate::harness::hub::{all, append, chunk, data, follow, gap, id, text, topic, topics};

fn small() -> MemoryLog {
    MemoryLog::builder().events(3).build().unwrap()
}

fn sequence(id: &EventId) -> u64 {
    id.as_str().split_once('-').unwrap().1.parse().unwrap()
}

/// The id that is so many behind this one.
fn shifted(place: &EventId, by: u64) -> EventId {
    let (epoch, _) = place.as_str().split_once('-').unwrap();
    id(format!("{epoch}-{}", sequence(place) + by))
}

#[test]
fn every_cause_is_told_and_then_comes_what_there_is() {
    let log = small();
    let ids: Vec<EventId> = ["a", "b", "c", "d", "e"].map(|text| append(&log, "t", text)).into();
    let foreign = append(&MemoryLog::new(), "t", "x");
    for (start, requested, reason) in [
        // Trimmed.
        (Start::After(ids[0].clone()), true, GapReason::Expired),
        // Of another epoch.
        (Start::After(foreign), true, GapReason::Restarted),
        // Malformed.
        (Start::After(id("7")), true, GapReason::Unknown),
        (Start::After(id("\"\\\u{1}")), true, GapReason::Unknown),
        (Start::After(id(format!("{}b", ids[3]))), true, GapReason::Unknown),
        // Newer than the head.
        (Start::After(shifted(&ids[4], 1_000)), true, GapReason::Unknown),
        // Not even an id.
        (Start::Unknown, false, GapReason::Unknown),
    ] {
        let mut follower = follow(&log, &["t"], start.clone());
        let gap = gap(&mut follower);
        assert_eq!(gap.reason, reason, "{start:?}");
        assert_eq!(gap.requested.map(Start::After), requested.then_some(start));
        assert_eq!(gap.earliest.as_ref(), Some(&ids[2]));
        assert_eq!(gap.latest.as_ref(), Some(&ids[4]));
        assert_eq!(all(&mut follower), ["c", "d", "e"]);
        // To come back with the place behind the gap is no gap.
        assert_eq!(all(&mut follow(&log, &["t"], Start::After(gap.position))), ["c", "d", "e"]);
    }
}

/// Nothing was lost, so a page does not tell its user of a loss.
#[test]
fn a_gap_after_a_restart_says_that_there_was_a_restart() {
    let before = append(&MemoryLog::new(), "t", "x");
    let restarted = Hub::new(MemoryLog::new());
    for from in [before, id("18446744073709551615-7b")] {
        let mut body = restarted.subscribe(topic("t")).after(from).into_body();
        assert!(text(&mut body).contains(",\"reason\":\"restarted\"}\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_forgotten_goes_after_its_time_unless_it_goes_on() {
    let log = MemoryLog::new();
    let first = append(&log, "over", "a");
    append(&log, "over", "b");
    append(&log, "goes.on", "a");
    for name in ["over", "goes.on", "never.was"] {
        log.forget(&topic(name), 10 * SECOND).await.unwrap();
    }
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(all(&mut follow(&log, &["over"], Start::After(first.clone()))), ["b"]);
    append(&log, "goes.on", "b");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(log.topics(), 1);
    assert_eq!(all(&mut follow(&log, &["goes.on"], Start::Earliest)), ["a", "b"]);
    assert_eq!(all(&mut follow(&log, &["over"], Start::After(first))), ["gap"]);
}

#[test]
fn events_that_can_be_replayed_are_no_gap() {
    let log = small();
    let ids: Vec<EventId> = ["a", "b", "c", "d", "e"].map(|text| append(&log, "t", text)).into();
    // All that is missing is there, also behind an event that is trimmed itself.
    for (at, rest) in [(1, &["c", "d", "e"][..]), (2, &["d", "e"]), (4, &[])] {
        assert_eq!(all(&mut follow(&log, &["t"], Start::After(ids[at].clone()))), rest);
    }
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest)), ["c", "d", "e"]);
    assert_eq!(all(&mut follow(&log, &["t"], Start::Live)), [""; 0]);
}

#[test]
fn a_follower_that_falls_out_of_the_window_gets_a_gap() {
    let log = small();
    let mut one = follow(&log, &["t"], Start::Live);
    let mut many = follow(&log, &["t", "u"], Start::Live);
    let mut fresh = follow(&log, &["t"], Start::Live);
    let first = append(&log, "t", "1");
    assert_eq!((all(&mut one), all(&mut many)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    for n in 2..9 {
        append(&log, "t", &n.to_string());
    }
    let told = gap(&mut one);
    assert_eq!((told.requested, told.reason), (Some(first), GapReason::Expired));
    assert_eq!(sequence(told.earliest.as_ref().unwrap()), sequence(&told.position) + 1);
    assert_eq!(all(&mut one), ["6", "7", "8"]);
    assert_eq!(all(&mut many), ["gap", "6", "7", "8"]);
    // It got none yet, so it has no place to name.
    assert_eq!(gap(&mut fresh).requested, None);
    assert_eq!(all(&mut fresh), ["6", "7", "8"]);
}

#[test]
fn each_policy_does_what_it_says() {
    let hub = Hub::new(small());
    let ids: Vec<EventId> =
        ["a", "b", "c", "d", "e"].map(|text| append(hub.log(), "t", text)).into();
    let body = |policy| hub.subscribe(topic("t")).after(ids[0].clone()).on_gap(policy).into_body();
    let said = |place: &EventId| {
        let [requested, earliest, latest] = [&ids[0], &ids[2], &ids[4]];
        format!(
            "event: gap\ndata: {{\"requested\":\"{requested}\",\"earliest\":\"{earliest}\",\
             \"latest\":\"{latest}\",\"reason\":\"expired\"}}\nid: {place}\n\n"
        )
    };
    let event = |n: usize, text: &str| format!("data: {text}\nid: {}\n\n", ids[n]);

    let mut replay = body(GapPolicy::Replay);
    let window = [event(2, "c"), event(3, "d"), event(4, "e")].concat();
    assert_eq!(text(&mut replay), said(&ids[1]) + &window);
    let mut live = body(GapPolicy::Live);
    assert_eq!(text(&mut live), said(&ids[4]));
    let mut end = body(GapPolicy::End);
    assert_eq!(text(&mut end), said(&ids[4]));
    assert!(chunk(&mut end).is_ready() && http_body::Body::is_end_stream(&end));

    let next = append(hub.log(), "t", "f");
    for body in [&mut replay, &mut live] {
        assert_eq!(text(body), format!("data: f\nid: {next}\n\n"));
    }
    // What the client holds behind each gap is a place that it can come back to.
    for (policy, missed) in
        [(GapPolicy::Replay, "gap"), (GapPolicy::Live, ""), (GapPolicy::End, "")]
    {
        let mut decoder = Decoder::new();
        decoder.decode(said(&ids[if policy == GapPolicy::Replay { 1 } else { 4 }]).as_bytes());
        let start = Start::requested(decoder.last_event_id());
        let again = all(&mut follow(hub.log(), &["t"], start));
        // One more was trimmed since, which is one more that the first of them lost.
        assert_eq!(again.first().map_or("", |it| if it == "gap" { "gap" } else { "" }), missed);
    }
}

#[test]
fn nothing_is_revealed_of_topics_that_are_not_followed() {
    let log = small();
    let mut secret = Vec::new();
    let mut own = Vec::new();
    for n in 0..20 {
        secret.push(append(&log, "secret", &n.to_string()));
        if n % 3 == 0 {
            own.push(append(&log, "own", &n.to_string()));
        }
        secret.push(append(&log, "secret", &n.to_string()));
    }
    for names in [&["own"][..], &["nothing"], &["own", "nothing"], &["own.*"], &["o*n.>", "own"]] {
        let Ok(topics) = tower_sse::event_log::Topics::new(names) else { continue };
        for start in
            [Start::Unknown, Start::After(id("1-1")), Start::After(shifted(&own[0], 1_000))]
        {
            let mut follower = log.follow(topics.clone(), start.clone());
            let gap = gap(&mut follower);
            let shown = [Some(gap.position), gap.earliest, gap.latest];
            for shown in shown.iter().flatten() {
                assert!(!secret.contains(shown), "{names:?} {start:?}: {shown}");
            }
            assert!(all(&mut follower).len() <= 3);
        }
    }
    // An id of the other's topic is a place, and gives nothing but the follower's own events.
    let mut follower = log.follow(topics(&["own"]), Start::After(secret[39].clone()));
    assert_eq!(all(&mut follower), [""; 0]);
}

#[test]
fn a_gap_is_told_once() {
    let log = small();
    for n in 0..10 {
        append(&log, "a", &n.to_string());
    }
    let b = append(&log, "b", "only");
    // One topic has lost much, the other nothing.
    let mut follower = follow(&log, &["a", "b", "c.*"], Start::Unknown);
    assert_eq!(all(&mut follower), ["gap", "7", "8", "9", "only"]);
    assert_eq!(all(&mut follow(&log, &["a", "b", "c.*"], Start::After(b))), [""; 0]);
    // Nothing to replay at all, and then something.
    let mut empty = follow(&log, &["new"], Start::Unknown);
    let told = gap(&mut empty);
    assert_eq!((told.earliest, told.latest), (None, None));
    append(&log, "new", "x");
    assert_eq!(all(&mut empty), ["x"]);
    assert_eq!(all(&mut follow(&log, &["new"], Start::After(told.position))), ["x"]);
}

#[test]
fn a_gap_behind_a_gap_does_not_send_the_client_back() {
    let log = MemoryLog::builder().events(1).build().unwrap();
    let mut follower = follow(&log, &["a", "b"], Start::Live);
    let lose = || drop(["x", "y"].map(|text| append(&log, "a", text)));
    lose();
    let first = gap(&mut follower).position;
    // The earliest is one of `b`, which lost nothing and was born before all of this.
    append(&log, "b", "z");
    lose();
    assert_eq!(gap(&mut follower).position, first);
    assert_eq!(all(&mut follower), ["z", "y"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_ended_and_began_anew_hides_no_loss() {
    let log = MemoryLog::builder().age(SECOND).idle(2 * SECOND).build().unwrap();
    let first = append(&log, "t", "1");
    let last = append(&log, "t", "2");
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(log.topics(), 0, "it ended");
    append(&log, "other", "x");

    for names in [&["t"][..], &["t", "u"], &["*"]] {
        let after = |id: &EventId| Start::After(id.clone());
        // Event 2 is lost for the one, and the other had all.
        assert_eq!(all(&mut follow(&log, names, after(&first)))[0], "gap", "{names:?}");
        let had_all = all(&mut follow(&log, names, after(&last)));
        assert!(!had_all.contains(&"gap".to_owned()), "{names:?}: {had_all:?}");
    }
    // A topic that never was lost nothing, whatever others did.
    assert_eq!(all(&mut follow(&log, &["never"], Start::After(first.clone()))), [""; 0]);

    // The same when it is there again.
    log.append_now(&topic("t"), data("3")).unwrap();
    assert_eq!(all(&mut follow(&log, &["t"], Start::After(first))), ["gap", "3"]);
    assert_eq!(all(&mut follow(&log, &["t"], Start::After(last))), ["3"]);
}
