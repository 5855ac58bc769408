//! The pages with htmx and Alpine, and the tabs that share a connection, as visitors meet them.

use std::time::Duration;

use fantoccini::Client;
use tokio::time::sleep;

use crate::harness::browser::{click, in_browser, save_screenshot, shows, told, write};
use crate::harness::process::{Example, curl, text};
use crate::harness::tap::{Tap, forward_to};

const VENDOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/npm/node_modules");

async fn start(name: &'static str) -> Example {
    Example::start(name, &[("VENDOR", VENDOR)]).await
}

/// Ends it as a deploy does, and has another one at its port.
async fn restart(name: &'static str, example: &mut Example) {
    let url = example.url("");
    let (_, port) = url.rsplit_once(':').expect("it has a port");
    example.signal("TERM").await;
    example.exit().await;
    *example = Example::start(name, &[("VENDOR", VENDOR), ("PORT", port)]).await;
}

async fn text_is(page: &Client, css: &str, what: &str, is: impl Fn(&str) -> bool) {
    let script = format!("return document.querySelector({css:?})?.textContent ?? ''");
    shows(page, what, &script, is).await;
}

async fn is_live(page: &Client) {
    text_is(page, "[data-sse-status]", "the page is live", |state| state == "live").await;
}

#[tokio::test]
async fn htmx_2_and_4_follow_one_stream_in_which_what_guests_write_is_text() {
    let bar = start("htmx").await;
    in_browser(async |page| {
        for htmx in ["2", "4"] {
            page.goto(&bar.url(&format!("/{htmx}"))).await.expect("the page opens");
            is_live(page).await;
            let said = format!("<img src=x onerror='document.title=1'> & {htmx}");
            write(page, "#text", &said).await;
            click(page, ".room .main").await;
            let item = format!("Guest {said}");
            text_is(page, "#said li:first-child", "it is in the room", |first| first == item).await;
            text_is(page, "#said img", "and is text", str::is_empty).await;
            let field = "return document.getElementById('text').value";
            shows(page, "the field is empty", field, str::is_empty).await;

            let orders = "return [...document.querySelectorAll('#orders li')].map(({ id }) => id)";
            let before = told(page, orders).await;
            shows(page, "orders come, and go", orders, |now| now != before).await;
            shows(page, "there are few of them", orders, |now| now.matches("order").count() <= 6)
                .await;
            text_is(page, "[data-sse-toasts] li", "a note is shown", |note| {
                note.ends_with(" is ready")
            })
            .await;
            save_screenshot(page, &format!("htmx-{htmx}.png")).await;
        }
        // What the first one wrote is what the second one began with.
        let items = "return document.querySelectorAll('#said li').length";
        assert_eq!(told(page, items).await, "2");
    })
    .await;
}

#[tokio::test]
async fn a_task_ends_with_its_last_message_and_is_not_asked_for_again() {
    let bar = start("htmx").await;
    for htmx in ["2", "4"] {
        let tap = Tap::over(forward_to(&bar.url(""))).await;
        in_browser(async |page| {
            page.goto(&tap.url(&format!("/{htmx}"))).await.expect("the page opens");
            is_live(page).await;
            click(page, "[hx-target='#tasks']").await;
            text_is(page, "#tasks progress + *, #tasks label", "it begins", |text| {
                text.starts_with("Roasting")
            })
            .await;
            text_is(page, "#tasks li", "it ends", |text| text.ends_with(": roasted.")).await;
            let following = "return String(document.querySelectorAll('#tasks span').length)";
            assert_eq!(told(page, following).await, "0", "what connects is gone");
            sleep(Duration::from_secs(3)).await;
            let asked = tap.asked("/tasks/");
            assert_eq!(asked.len(), 1, "htmx {htmx}");
            // One that is too late gets all of it, and the end.
            let late = bar.get(&asked[0].path).await;
            assert!(late.contains(": roasted.") && late.contains("{\"reason\":\"finished\"}"));
            is_live(page).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_page_of_htmx_tells_a_new_server_from_a_time_that_was_too_long() {
    for htmx in ["2", "4"] {
        let mut bar = start("htmx").await;
        in_browser(async |page| {
            page.goto(&bar.url(&format!("/{htmx}"))).await.expect("the page opens");
            is_live(page).await;
            write(page, "#text", "Is anybody there?").await;
            click(page, ".room .main").await;
            text_is(page, "#said li", "it is said", |text| text.contains("anybody")).await;

            restart("htmx", &mut bar).await;
            text_is(page, "#told", "it is told", |text| text.contains("started anew")).await;
            text_is(page, "#said", "the old room is gone", str::is_empty).await;
            is_live(page).await;
            // It has its place in the new one.
            curl(&["-d", "who=Ada&text=I am", &bar.url("/room")]).await;
            text_is(page, "#said li", "it goes on", |text| text == "Ada I am").await;
            let items = "return document.querySelectorAll('#said li').length";
            assert_eq!(told(page, items).await, "1");
        })
        .await;

        // The same log, which has forgotten the place.
        let page = bar.get(&format!("/{htmx}")).await;
        let (_, place) = page.split_once("/board?place=").expect("a place");
        let (place, _) = place.split_once('"').expect("its end");
        let anew = bar.get(&format!("/{htmx}/board?place={place}")).await;
        assert!(anew.contains("longer than the server remembers"), "{anew}");
    }
}

#[tokio::test]
async fn a_page_of_alpine_has_a_list_a_figure_and_notes_by_one_connection() {
    let mut shop = start("alpine").await;
    in_browser(async |page| {
        page.goto(&shop.url("/")).await.expect("the page opens");
        is_live(page).await;
        for text in ["Milk", "<b>Bread</b>"] {
            write(page, "input[name=text]", text).await;
            click(page, "form .main").await;
            text_is(page, "ul.list li:last-of-type span", "it is on the list", |last| last == text)
                .await;
        }
        text_is(page, "[data-sse-toasts] li", "a note is shown", |note| note == "Milk").await;
        text_is(page, ".counter", "they are counted", |text| text == "2 to go, 0 bought").await;
        save_screenshot(page, "alpine.png").await;
        click(page, "ul.list button").await;
        text_is(page, ".counter", "one is bought", |text| text == "1 to go, 1 bought").await;

        restart("alpine", &mut shop).await;
        text_is(page, ".counter", "a new server has none", |text| text == "0 to go, 0 bought")
            .await;
        is_live(page).await;
        assert_eq!(text(&curl(&["-d", "text=Eggs", &shop.url("/items")]).await), "");
        text_is(page, "ul.list li span", "the page follows it", |text| text == "Eggs").await;
    })
    .await;
}

#[tokio::test]
async fn ten_tabs_have_one_connection_also_after_the_one_that_leads_is_closed() {
    let server = start("tabs").await;
    in_browser(async |page| {
        page.goto(&server.url("/")).await.expect("the page opens");
        for left in [10, 9, 8, 7] {
            let expected = format!("1 connection for {left} pages here: tab ");
            text_is(page, "#figure", &expected, |figure| figure.starts_with(&expected)).await;
            shows(page, "one leads", LEADING, |leading| leading == "1").await;
            click(page, "#close").await;
        }
        shows(page, "all go on", NUMBERS, |numbers| !numbers.contains(',')).await;
        let before = told(page, NUMBERS).await;
        shows(page, "all go on", NUMBERS, |numbers| numbers != before).await;
        assert_eq!(told(page, COUNTS).await, "0 lost, 0 twice");
    })
    .await;
}

/// The numbers that the tabs show, each once.
const NUMBERS: &str = "return [...new Set([...document.querySelectorAll('iframe')]
    .map(({ contentDocument }) => contentDocument.getElementById('number').textContent))].join()";

const LEADING: &str = "return String(document.querySelectorAll('#tabs .leads').length)";

/// What the tabs say of their numbers, each thing once.
const COUNTS: &str = "return [...new Set([...document.querySelectorAll('iframe')]
    .map(({ contentDocument }) => contentDocument.getElementById('wrong').textContent))].join('; ')";
