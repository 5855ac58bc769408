//! The engine against the specification.

use proptest::prelude::*;

use super::course::course;
use super::*;
use crate::support::{interpret, stream};

fn settings() -> impl Strategy<Value = Settings> {
    let limit = prop_oneof![Just(Settings::HOLD_LIMIT), 0..40_usize];
    (limit, any::<[bool; 5]>()).prop_map(
        |(hold_limit, [alive, numbered, restate, count_events, observed])| Settings {
            keep_alive: alive.then(|| KeepAlive::new(INTERVAL, &Signal::COMMENT, Instant::now())),
            ids: numbered.then_some(EventIds::Sequential),
            hold_limit,
            restate,
            count_events,
            on_error: None,
            error_retry: ERROR_RETRY,
            words: None,
            close_at_end: None,
            around_another: false,
            observation: if observed { Observation::FirstEvent } else { Observation::Nothing },
            rotation: None,
        },
    )
}

proptest! {
    /// The promise of the crate: whatever the cuts and the timings, a client sees the same events,
    /// and those that were added, whole.
    #[test]
    fn clients_see_the_same_events_whatever_the_cuts_and_timings(
        stream in stream(), course in course(), settings in settings(),
    ) {
        let chunks = course.chunks(&stream);
        let mut run = Run::new(settings.clone(), Position::None);
        let added = Event::new().named("injected").data("whole\nand new");
        let injected = run.take_course(&course, &chunks, &added);
        let room = run.engine.splitter.room();
        run.end(&course);

        let expected = interpret(&chunks.concat());
        let mut seen = interpret(&run.sent());
        let (new, own): (Vec<_>, Vec<_>) = seen.events.drain(..).partition(|(name, ..)| name == "injected");
        prop_assert_eq!(new.len() as u64, injected);
        prop_assert!(new.iter().all(|(_, data, _)| data == "whole\nand new"));

        let mut own = own;
        if course.is_closed() && room != Room::None {
            let (name, data, _) = own.pop().unwrap();
            prop_assert_eq!((name.as_str(), data.as_str()), ("close", r#"{"reason":"shutdown"}"#));
        }
        prop_assert_eq!(own.len(), expected.events.len());
        let mut number = 0;
        for (own, expected) in own.iter().zip(&expected.events) {
            prop_assert_eq!((&own.0, &own.1), (&expected.0, &expected.1));
            if settings.ids.is_none() || own.2 == expected.2 {
                prop_assert_eq!(&own.2, &expected.2);
                continue;
            }
            // The next number; those of injected events lie between.
            let id: u32 = own.2.parse().unwrap();
            prop_assert!(id > number);
            number = id;
        }
        if settings.count_events || settings.ids.is_some() {
            prop_assert_eq!(run.engine.progress().events, expected.events.len() as u64 + injected);
        }
    }
}
