//! Two nodes with one log agree on what is appended, and when.

use tower_sse::event_log::{EventLog, Start, Step};

use crate::harness::broker::{append, follow, said, step};
use crate::harness::topics::{topic, topics};

pub async fn an_event_has_one_id_on_all_nodes<L>([one, two]: [L; 2])
where
    L: EventLog<Follower: Unpin>,
{
    let mut followers = [follow(&one, &["t"], Start::Live), follow(&two, &["t", "u"], Start::Live)];
    for (log, name, text) in [(&one, "t", "1"), (&two, "u", "2"), (&two, "t", "3")] {
        let id = append(log, name, text).await;
        for follower in &mut followers[usize::from(name == "u")..] {
            let Step::Event(event) = step(follower).await else {
                panic!("there is no gap");
            };
            assert_eq!(event.id(), id.as_str());
            assert_eq!(event.topic(), &topic(name));
        }
    }
}

pub async fn a_follower_gets_each_event_from_then_on_wherever_it_is_appended<L>([one, two]: [L; 2])
where
    L: EventLog<Follower: Unpin>,
{
    for n in 0..50 {
        let name = format!("t.{n}");
        append(&one, &name, "before").await;
        // Not polled before the event is there.
        let mut first = follow(&one, &[&name], Start::Live);
        let mut second = follow(&two, &[&name], Start::Live);
        append(&two, &name, "after").await;
        assert_eq!(said(&mut first).await, "after");
        // What was just before, on another node, may come as well.
        let came = said(&mut second).await;
        if came == "before" {
            assert_eq!(said(&mut second).await, "after");
        } else {
            assert_eq!(came, "after");
        }
    }
}

pub async fn pages_that_follow_their_state_miss_nothing<L>([one, two]: [L; 2])
where
    L: EventLog<Follower: Unpin>,
{
    append(&one, "t", "1").await;
    let place = one.latest(&topics(&["t"])).await.unwrap();
    append(&two, "t", "2").await;
    for log in [&one, &two] {
        assert_eq!(said(&mut follow(log, &["t"], Start::After(place.clone()))).await, "2");
    }
}
