//! A head that does not wait, as a few lines say what comes of each request.

use std::time::Duration;

use proptest::prelude::*;
use tower::Layer;
use tower_sse::{Dialect, EarlyHeadLayer, KeepAliveLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data};
use crate::harness::rig::get;
use crate::harness::thinking::{Seen, answer, seen, thinking};

/// How long a handler thinks, how long it is waited for, and what it answers.
#[derive(Clone, Copy, Debug)]
struct Case {
    thinks: u32,
    delay: u32,
    give_up: u32,
    answer: Answer,
    /// With a layer around that says the last words.
    is_around: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Events,
    Json,
    Nothing,
    Failure,
}

impl Answer {
    fn parts(self) -> (u16, &'static str, fn() -> Vec<Step>) {
        match self {
            Self::Events => (200, "text/event-stream", || vec![Data("data: a\n\n")]),
            Self::Json => (200, "application/json", || vec![Data("{}")]),
            Self::Nothing => (204, "text/plain", Vec::new),
            Self::Failure => (503, "text/plain", Vec::new),
        }
    }

    /// What the text begins with where the answer comes late, and what is in it.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Events => ("data: a\n\n", ""),
            Self::Json => ("data: {}\n\n", ""),
            Self::Nothing => ("", ""),
            Self::Failure => ("event: error\ndata: {\"error\":", "503"),
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let answer = prop_oneof![
        Just(Answer::Events),
        Just(Answer::Json),
        Just(Answer::Nothing),
        Just(Answer::Failure)
    ];
    (1..9_u32, 0..7_u32, 1..9_u32, answer, any::<bool>()).prop_map(
        |(thinks, delay, give_up, answer, is_around)| Case {
            thinks,
            delay,
            give_up,
            answer,
            is_around,
        },
    )
}

/// The head, after how many seconds, and whether the handler was dropped before its answer.
async fn run(case: Case) -> (Seen, bool) {
    let Case { thinks, delay, give_up, answer: kind, is_around } = case;
    let (status, content_type, steps) = kind.parts();
    let (handler, cancelled) = thinking(thinks * SECOND, answer(status, content_type, steps));
    let early = EarlyHeadLayer::after(delay * SECOND).give_up_after(give_up * SECOND);
    let early = early.dialect(Dialect::openai_chat()).layer(handler);
    let long = Duration::from_secs(60);
    let seen = if is_around {
        let around = SseLayer::new().keep_alive(KeepAliveLayer::off());
        seen(&around.layer(early), get(), long).await
    } else {
        seen(&early, get(), long).await
    };
    (seen, cancelled.get())
}

proptest! {
    #[test]
    fn what_comes_of_a_request_is_what_its_times_say(case in cases()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let (seen, was_cancelled) = runtime.block_on(run(case));
        let Case { thinks, delay, give_up, answer, .. } = case;
        let milliseconds = |seconds: u32| u128::from(seconds) * 1_000;
        let (text, status) = (seen.read.text(), seen.head.status.as_u16());
        prop_assert!(seen.read.ended && seen.read.error.is_none());
        if thinks <= delay.min(give_up) {
            prop_assert_eq!((seen.at, status), (milliseconds(thinks), answer.parts().0));
            prop_assert!(!seen.is_early());
        } else if give_up <= delay {
            prop_assert_eq!((seen.at, status), (milliseconds(give_up), 504));
        } else {
            prop_assert_eq!((seen.at, status), (milliseconds(delay), 200));
            let is_given_up = give_up < thinks;
            let at = milliseconds(thinks.min(give_up));
            prop_assert!(seen.chunks().iter().all(|(when, _)| *when == at));
            let (begins, has) = match is_given_up {
                true => ("event: error\ndata: {\"error\":", ""),
                false => answer.told(),
            };
            prop_assert!(text.starts_with(begins) && text.contains(has), "{}", text);
            prop_assert_eq!(text.is_empty(), begins.is_empty());
        }
        prop_assert_eq!(was_cancelled, give_up < thinks);
    }
}
