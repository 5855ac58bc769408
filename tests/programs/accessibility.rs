//! The pages of the examples, for people who do not see them or see them badly: as axe-core judges
//! them, light and dark, and as the browser tells a screen reader.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::bidi::{Page, Program, in_a};
use crate::harness::process::Example;

#[tokio::test]
async fn the_pages_of_the_examples_have_no_serious_fault() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/npm/node_modules/axe-core/axe.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|error| panic!("{}: {error}: tests/run installs it", axe.display()));
    in_a(Program::Chromium, async |browser| {
        let mut faults = Vec::new();
        for &(name, path, act, used) in EXAMPLES {
            let example = Example::start(name, &[]).await;
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
                    faults
                        .push(format!("{name}, {scheme}: {}", fault.as_str().unwrap_or_default()));
                }
            }
            let statuses = statuses(&page).await;
            if statuses == 0 {
                faults.push(format!("{name}: the tree has no status"));
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
];

const FAULTS: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) =>
            `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`)))";
