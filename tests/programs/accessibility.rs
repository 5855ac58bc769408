//! The pages of the examples, for people who do not see them or see them badly: as axe-core judges
//! them, light and dark, and as the browser tells a screen reader.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::bidi::{Page, Program, in_a};
use crate::harness::process::Example;

#[tokio::test]
async fn the_pages_of_the_examples_have_no_serious_fault() {
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/npm/node_modules");
    let axe = Path::new(modules).join("axe-core/axe.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|error| panic!("{}: {error}: tests/run installs it", axe.display()));
    in_a(Program::Chromium, async |browser| {
        let mut faults = Vec::new();
        for &(name, path, act, used) in EXAMPLES {
            let example = Example::start(name, &[("VENDOR", modules)]).await;
            let page = browser.window().await;
            page.goto(&example.url(path)).await;
            for scheme in ["light", "dark"] {
                let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
                page.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
                page.reload().await;
                let is = format!("matchMedia('(prefers-color-scheme: {scheme})').matches");
                assert_eq!(page.value(&is).await, Value::Bool(true), "{scheme}");
                // As it is after a while, and with something in it.
                page.value(act).await;
                page.shows(&format!("{name} is in use"), used, |used| used == "true").await;
                page.run(&axe).await;
                for fault in page.value(FAULTS).await.as_array().expect("a list") {
                    faults.push(format!(
                        "{name}{path}, {scheme}: {}",
                        fault.as_str().unwrap_or_default()
                    ));
                }
            }
            if statuses(&page).await == 0 {
                faults.push(format!("{name}{path}: the tree has no status"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    })
    .await;
}

/// How many elements with the role of a status a screen reader finds.
async fn statuses(page: &Page) -> usize {
    let tree = page.cdp("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().expect("a tree");
    let is_status = |node: &&Value| node["role"]["value"] == "status" && node["ignored"] == false;
    nodes.iter().filter(is_status).count()
}

/// Each example that has a page, the path of that, what a person does there, and what is seen then.
const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    ("demo", "/", "null", "document.querySelectorAll('#feed li').length > 1"),
    (
        "notifications",
        "/?user=ada",
        "fetch('/notify', { method: 'POST', body: 'Lunch is ready' }).then(() => null)",
        "document.body.textContent.includes('Lunch is ready')",
    ),
    (
        "llm_resume",
        "/",
        "document.getElementById('ask').click()",
        "document.getElementById('answer').textContent.length > 10",
    ),
    ("htmx", "/2", HTMX_BEGINS, HTMX_IS_IN_USE),
    ("htmx", "/4", HTMX_BEGINS, HTMX_IS_IN_USE),
    (
        "alpine",
        "/",
        "fetch('/items', { method: 'POST', body: new URLSearchParams({ text: 'Milk' }) })
            .then(() => null)",
        "[...document.querySelectorAll('ul.list li')].some(({ textContent }) =>
            textContent.includes('Milk'))",
    ),
    ("tabs", "/", "null", "document.getElementById('figure').textContent.includes('leads')"),
];

const HTMX_BEGINS: &str = "document.querySelector('[hx-target=\"#tasks\"]').click()";
const HTMX_IS_IN_USE: &str = "document.querySelectorAll('#tasks li').length > 0
    && document.querySelectorAll('#orders li').length > 0";

const FAULTS: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) =>
            `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`)))";
