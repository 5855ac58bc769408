//! What a browser's own `EventSource`, and the pages of the examples, make of streams that they
//! come back to.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::browser::{click, in_browser, save_screenshot, shows, told, write};
use crate::harness::process::{Example, curl};
use crate::harness::tap::{Asked, Cut, Tap, forward_to};

#[tokio::test]
async fn an_event_source_comes_back_to_a_finished_stream_once() {
    let server = Example::start("acceptance", &[]).await;
    let tap = Tap::over(forward_to(&server.url(""))).await;
    in_browser(async |page| {
        page.goto(&tap.url("/stats")).await.expect("it opens");
        told(page, SOURCES).await;
        told(page, "open('/once'); open('/finite'); open('/finite?closes', true)").await;

        shows(page, "204 stops it", "return state('/once')", |state| state == "closed").await;
        let event = "message {\"n\":1}";
        shows(page, "it saw all of it once", "return seen('/once')", |seen| seen == event).await;

        // The `retry` of the close event is 20 seconds.
        let all = "message {\"n\":1}\nmessage {\"n\":2}\nmessage {\"n\":3}\nclose {\"reason\":\"finished\"}";
        shows(page, "a close event ends it", "return seen('/finite')", |seen| seen == all).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(told(page, "return state('/finite')").await, "connecting");
        assert_eq!(tap.asked("/finite").len(), 2);
        shows(page, "204 stops it", "return state('/finite')", |state| state == "closed").await;

        sleep(Duration::from_secs(2)).await;
        for (path, asked) in [("/once", 2), ("/finite", 2), ("/finite?closes", 1)] {
            let all: Vec<Asked> =
                tap.asked(path).into_iter().filter(|asked| asked.path == path).collect();
            assert_eq!(all.len(), asked, "{all:?}");
            assert_eq!((all[0].status, &all[0].last_event_id), (200, &None));
            assert!(all[1..].iter().all(|back| back.status == 204), "{all:?}");
            let state = format!("return state('{path}')");
            assert_eq!(told(page, &state).await, "closed", "{path}");
        }
        assert_eq!(told(page, "return seen('/finite')").await, all);
    })
    .await;
}

#[tokio::test]
async fn a_log_that_breaks_off_anywhere_comes_once_and_in_order() {
    let server = Example::start("acceptance", &[]).await;
    let tap = Tap::over(forward_to(&server.url(""))).await;
    in_browser(async |page| {
        page.goto(&tap.url("/stats")).await.expect("it opens");
        told(page, SOURCES).await;
        // Behind the first event, which says how soon to come back. Then at any byte of some later
        // one.
        tap.cut(Cut { below: "/log", after: 150, more: 17 });
        told(page, "open('/log?n=100')").await;
        let last = "return seen('/log?n=100').split('\\n').at(-1)";
        shows(page, "the last one comes", last, |last| last.contains("\"n\":100,")).await;
        sleep(Duration::from_millis(500)).await;

        let seen = told(page, "return numbers('/log?n=100')").await;
        let expected: Vec<String> = (1..=100).map(|n: u32| n.to_string()).collect();
        assert_eq!(seen, expected.join(" "));
        let asked = tap.asked("/log");
        assert!(asked.len() > 10, "{} requests", asked.len());
        assert!(asked.iter().all(|asked| asked.status == 200));
        assert!(asked[1..].iter().all(|asked| asked.last_event_id.is_some()), "{asked:?}");
    })
    .await;
}

/// The memory of the acceptance server is that of its process, which a resume stands for.
#[tokio::test]
async fn a_new_server_begins_anew_and_nothing_comes_twice_from_one() {
    let server = Example::start("acceptance", &[]).await;
    in_browser(async |page| {
        page.goto(&server.url("/stats")).await.expect("it opens");
        told(page, SOURCES).await;
        told(page, "open('/log')").await;
        let numbers = "return numbers('/log')";
        shows(page, "all come", numbers, |seen| seen == "1 2 3 4 5 6 7 8 9 10 11 12").await;
        server.post("/admin/shutdown").await;
        shows(page, "it comes back, to be told", "return seen('/log')", |seen| {
            seen.contains("close {\"reason\":\"shutdown\"}") && seen.contains("draining {}")
        })
        .await;
        server.post("/admin/resume").await;
        let twice = "1 2 3 4 5 6 7 8 9 10 11 12 1 2 3 4 5 6 7 8 9 10 11 12";
        shows(page, "the new one's come", numbers, |seen| seen == twice).await;
        sleep(Duration::from_millis(500)).await;
        assert_eq!(told(page, numbers).await, twice);
        assert_eq!(told(page, "return state('/log')").await, "open");
    })
    .await;
}

#[tokio::test]
async fn an_answer_survives_a_reload_and_the_closing_of_its_tab() {
    let server = Example::start("llm_resume", &[]).await;
    let tap = Tap::over(forward_to(&server.url(""))).await;
    in_browser(async |page| {
        let other = page.new_window(true).await.expect("a tab").handle;
        page.goto(&tap.url("/")).await.expect("the page opens");
        save_screenshot(page, "answer-before.png").await;
        click(page, "#ask").await;
        shows(page, "it begins", ANSWER, |text| text.contains("An answer")).await;
        // Another one, while the first is being read.
        click(page, "#ask").await;
        shows(page, "it begins", ANSWER, |text| text.contains("An answer is a")).await;
        page.refresh().await.expect("it loads again");
        shows(page, "it goes on", ANSWER, |text| text.contains("longer than a")).await;
        save_screenshot(page, "answer-reading.png").await;

        page.close_window().await.expect("the tab closes");
        sleep(Duration::from_secs(3)).await;
        page.switch_to_window(other).await.expect("another one");
        page.goto(&tap.url("/")).await.expect("the page opens");
        // At a word each quarter of a second, that is what was said meanwhile.
        shows(page, "it is there", ANSWER, |text| text.contains("a train enters a tunnel")).await;
        shows(page, "it ends", STATE, |state| state == "that was all").await;
        assert_eq!(told(page, ANSWER).await, WHOLE);
        save_screenshot(page, "answer-whole.png").await;

        page.refresh().await.expect("it loads again");
        assert_eq!(told(page, ANSWER).await, WHOLE);
        let asked = tap.asked("/answers/");
        let began: Vec<bool> = asked.iter().map(|asked| asked.last_event_id.is_none()).collect();
        assert_eq!(began, [true, true, false, false], "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_goes_with_its_server_is_not_taken_for_whole() {
    let mut server = Example::start("llm_resume", &[]).await;
    in_browser(async |page| {
        page.goto(&server.url("/")).await.expect("the page opens");
        click(page, "#ask").await;
        shows(page, "it begins", ANSWER, |text| text.contains("An answer is a")).await;
        server.signal("TERM").await;
        assert_eq!(server.exit().await.0.code(), Some(0));
        shows(page, "it is told", STATE, |state| state.contains("before the end")).await;
        save_screenshot(page, "answer-cut.png").await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_stopped_ends_on_the_server_and_says_so_after_a_reload_too() {
    let server = Example::start("llm_resume", &[]).await;
    let tap = Tap::over(forward_to(&server.url(""))).await;
    in_browser(async |page| {
        page.goto(&tap.url("/")).await.expect("the page opens");
        let asks = page.window().await.expect("a tab");
        click(page, "#ask").await;
        shows(page, "it begins", ANSWER, |text| text.contains("An answer")).await;
        // Another tab of the same user reads it, too.
        let other = page.new_window(true).await.expect("a tab").handle;
        page.switch_to_window(other.clone()).await.expect("another one");
        page.goto(&tap.url("/")).await.expect("the page opens");
        shows(page, "it reads", ANSWER, |text| text.contains("An answer is")).await;
        page.switch_to_window(asks).await.expect("the first one");
        click(page, "#stop").await;
        shows(page, "it is told", STATE, |state| state == "you stopped it").await;
        let said = told(page, ANSWER).await;
        page.switch_to_window(other).await.expect("the second one");
        shows(page, "it is told, too", STATE, |state| state == "you stopped it").await;
        assert_eq!(told(page, ANSWER).await, said);
        assert!(WHOLE.starts_with(&said) && said.len() < WHOLE.len(), "{said:?}");
        save_screenshot(page, "answer-stopped.png").await;
        page.refresh().await.expect("it loads again");
        shows(page, "it is told", STATE, |state| state == "you stopped it").await;
        assert_eq!(told(page, ANSWER).await, said);

        let asked = tap.asked("/answers/");
        let status: Vec<u16> = asked.iter().map(|asked| asked.status).collect();
        assert_eq!(status, [200, 200, 204], "two tabs, and a stop: {asked:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_fails_is_not_taken_for_whole() {
    let server = Example::start("llm_resume", &[]).await;
    in_browser(async |page| {
        page.goto(&server.url("/")).await.expect("the page opens");
        write(page, "#question", "Does it fail?").await;
        click(page, "#ask").await;
        shows(page, "it is told", STATE, |state| state == "it failed: ask again").await;
        assert_eq!(
            told(page, ANSWER).await,
            WHOLE.split_inclusive(' ').take(12).collect::<String>().trim_end()
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_misses_nothing_between_its_place_and_its_first_event() {
    let server = Example::start("notifications", &[]).await;
    let tap = Tap::over(forward_to(&server.url(""))).await;
    in_browser(async |page| {
        // The page loads, and its stream breaks off before there is an event, with its id.
        tap.cut(Cut { below: "/events", after: 1, more: 0 });
        page.goto(&tap.url("/?user=ada")).await.expect("the page opens");
        shows(page, "it is away", STATE, |state| state == "reconnecting").await;
        for (text, to) in [("one", ""), ("two", "/ada"), ("three", "/bob"), ("four", "")] {
            curl(&["-d", text, &server.url(&format!("/notify{to}"))]).await;
        }
        assert_eq!(told(page, LIST).await, "");
        tap.mend();
        shows(page, "all of ada's come", LIST, |list| list == "four\ntwo\none").await;
        shows(page, "it is back", STATE, |state| state == "live").await;
        // It came back by the place at which it was rendered, as there was no event before.
        let asked = tap.asked("/events");
        let (_, place) = asked[0].path.split_once("last_event_id=").expect("a place");
        let has_it = |asked: &Asked| {
            asked.path.ends_with(place) && asked.last_event_id.as_ref().is_none_or(|id| id == place)
        };
        assert!(asked.len() > 1 && asked.iter().all(has_it), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_users_notifications_are_not_shown_to_another_one() {
    let server = Example::start("notifications", &[]).await;
    in_browser(async |page| {
        let ada = page.window().await.expect("a tab");
        page.goto(&server.url("/?user=ada")).await.expect("the page opens");
        shows(page, "ada is there", STATE, |state| state == "live").await;
        let bob = page.new_window(true).await.expect("a tab").handle;
        page.switch_to_window(bob.clone()).await.expect("another one");
        page.goto(&server.url("/?user=bob")).await.expect("the page opens");
        shows(page, "bob is there", STATE, |state| state == "live").await;

        page.switch_to_window(ada.clone()).await.expect("the first one");
        for (text, to) in [("Your parcel is here", "me"), ("Lunch is ready", "")] {
            write(page, "input[name=text]", text).await;
            click(page, &format!("button[value='{to}']")).await;
            shows(page, "ada is told", LIST, |list| list.contains(text)).await;
        }
        assert_eq!(told(page, LIST).await, "Lunch is ready\nYour parcel is here");
        save_screenshot(page, "notifications-ada.png").await;

        page.switch_to_window(bob).await.expect("the second one");
        shows(page, "bob is told", LIST, |list| list == "Lunch is ready").await;
        // What he sends to himself comes later than what was for ada only.
        write(page, "input[name=text]", "Only bob's").await;
        click(page, "button[value=me]").await;
        shows(page, "bob is told", LIST, |list| list == "Only bob's\nLunch is ready").await;
        page.switch_to_window(ada).await.expect("the first one");
        assert_eq!(told(page, LIST).await, "Lunch is ready\nYour parcel is here");
    })
    .await;
}

/// Opens sources by path, and says what became of them.
const SOURCES: &str = r#"
    const all = {};
    window.open = (path, closes) => {
        const source = new EventSource(path);
        const events = [];
        all[path] = { source, events };
        for (const name of ["message", "close", "draining", "gap"]) {
            source.addEventListener(name, ({ type, data }) => {
                events.push(`${type} ${data}`.replaceAll(/,\n/g, ","));
                if (type === "close" && closes) source.close();
            });
        }
    };
    window.state = (path) => ["connecting", "open", "closed"][all[path].source.readyState];
    window.seen = (path) => all[path].events.join("\n");
    window.numbers = (path) => all[path].events
        .filter((event) => event.startsWith("message"))
        .map((event) => JSON.parse(event.slice("message ".length)).n).join(" ");
"#;

const ANSWER: &str = "return document.getElementById('answer').textContent";

const STATE: &str = "return document.getElementById('state').textContent";

const LIST: &str =
    "return [...list.children].map((item) => item.firstElementChild.textContent).join('\\n')";

const WHOLE: &str = "An answer is a stream of words, and a stream is longer than a connection. A tab \
    is closed, a train enters a tunnel, a laptop sleeps: the words go on, and wait. Who comes back \
    says which word was the last, and reads on from there, without one lost and without one twice.";
