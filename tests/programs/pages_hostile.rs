//! What a stream that an attacker has written into can do to a page: nothing.
//!
//! Swaps of htmx are no part of this. They put what they are sent into the page as HTML, which is
//! what htmx is for, so a server must know what it sends to them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::bidi::{Program, in_a};
use crate::harness::pages::{KINDS, Kind, Visit, are_installed};

#[tokio::test]
async fn markup_in_events_is_shown_as_text() {
    in_a(Program::Chromium, async |browser| {
        let visits = Visit::of_all(browser, "/events", &json!({})).await;
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            let name = visit.kind.name();
            if matches!(visit.kind, Kind::Bare | Kind::Alpine) {
                visit.site.publish_text(MARKUP);
                let shown = "document.getElementById('list').textContent.trim()";
                visit.page.shows("it is shown", shown, |text| text == MARKUP).await;
            }
            visit.site.publish_named("notification", MARKUP);
            visit.site.publish_named("notification", &json!({ "text": MARKUP }).to_string());
            visit.site.publish_named("notification", &json!({ "text": { "a": 1 } }).to_string());
            visit.site.publish_named("notification", "null");
            let toasts = "[...document.querySelectorAll('#toasts li')].map((li) => li.textContent)";
            let expected = json!([MARKUP, MARKUP]);
            visit
                .page
                .shows(&format!("toasts of {name}"), toasts, |all| {
                    let all: Value = serde_json::from_str(all).unwrap_or_default();
                    let some = all.as_array().map(|all| all.iter().take(2).cloned().collect());
                    some == Some(expected.clone())
                        && all.as_array().is_some_and(|all| all.len() >= 3)
                })
                .await;
            let made = "document.querySelectorAll('#toasts img, #toasts script').length";
            assert_eq!(visit.page.text(made).await, "0", "{name}");
            // Where it is asked for.
            visit.site.publish_named("notice", "<b>bold</b>");
            let asked = "document.querySelectorAll('#html-toasts b').length";
            visit.page.shows(&format!("HTML of {name}"), asked, |count| count == "1").await;
            visit.site.publish_named("close", &json!({ "reason": MARKUP }).to_string());
            is_closed(visit).await;
            let made = "document.querySelectorAll('output *').length";
            assert_eq!(visit.page.text(made).await, "0", "{name}");
            assert_eq!(visit.page.text("window.hacked ?? 'no'").await, "no", "{name}");
            visit.is_silent_but_for_outages();
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn names_and_data_that_nobody_expects_do_not_disturb_a_stream() {
    are_installed();
    in_a(Program::Chromium, async |browser| {
        let visits = KINDS.map(async |kind| Visit::of(browser, kind, "/events", &json!({})).await);
        // A refusal at first makes the script go on by itself. htmx 4 asks by itself, and once.
        let others = [Kind::Bare, Kind::Htmx2, Kind::Alpine]
            .map(async |kind| Visit::of(browser, kind, "/refused-once", &json!({})).await);
        let (mut visits, others) = tokio::join!(join_all(visits), join_all(others));
        visits.extend(others);
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            let asked = |visit: &Visit| {
                visit.site.asked("/events").len() + visit.site.asked("/refused-once").len()
            };
            let before = asked(visit);
            for name in NAMES {
                for data in ["", "{{{", "null", "[]", "{\"reason\":7}"] {
                    visit.site.publish_named(name, data);
                }
                visit.site.publish();
            }
            visit.has_all().await;
            visit.is("live").await;
            assert_eq!(asked(visit), before, "{}", visit.kind.name());
            // What cannot be read tells to stop all the same.
            visit.site.publish_named("close", "{{{");
            is_closed(visit).await;
            visit.is_silent_but_for_outages();
        }))
        .await;
    })
    .await;
}

/// Waits until it is. htmx 4 reads on to the end of a stream, and does not come back then.
async fn is_closed(visit: &Visit) {
    if visit.kind == Kind::Htmx4 {
        sleep(Duration::from_millis(300)).await;
        visit.site.kill();
        visit.site.run().await;
    }
    visit.is("closed").await;
}

/// What a page, a prototype or an `EventSource` has by these names is not what a server sends.
const NAMES: [&str; 12] = [
    "__proto__",
    "constructor",
    "error",
    "gap",
    "hasOwnProperty",
    "heartbeat",
    "load",
    "message:x",
    "open",
    "toString",
    "click",
    "\u{1f600} <b>",
];

const MARKUP: &str = "<img src=x onerror=hacked=1><script>hacked=2</script><b>bold</b>";
