//! No link in the prose is dead: to files, to headings, and to the documentation of this crate.

use std::fs;
use std::path::{Path, PathBuf};

use crate::manual::{file, prose};

/// A text without its blocks of code.
fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Where the links of a text lead, those that are defined by a name too.
fn links(text: &str) -> Vec<String> {
    let text = without_code(text);
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let inline = inline.map(|(target, _)| target.to_owned());
    let defined = definitions(&text).into_iter().map(|(_, target)| target);
    inline.chain(defined).collect()
}

/// Names of links, with where they lead.
fn definitions(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    lines.map(|(name, target)| (name.to_owned(), target.to_owned())).collect()
}

/// The names that renderers give to the headings of a text.
fn anchors(text: &str) -> Vec<String> {
    let text = without_code(text);
    let headings = text.lines().filter_map(|line| {
        let heading = line.trim_start_matches("//! ").trim_start_matches("/// ").trim_start();
        let name = heading.trim_start_matches('#').strip_prefix(' ')?;
        heading.starts_with('#').then_some(name)
    });
    let name = |heading: &str| {
        let kept = |it: &char| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_');
        heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(name).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The names of all headings in the documentation of the sources.
fn anchors_of_sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|path| match path.extension() {
        None => anchors_of_sources(&path),
        Some(extension) if extension == "rs" => anchors(&fs::read_to_string(path).unwrap()),
        Some(_) => Vec::new(),
    });
    names.collect()
}

/// Whether a page of this crate's documentation exists.
fn is_documented(page: &str) -> bool {
    let root = root().join("src");
    if let Some(chapter) = page.strip_prefix("manual/").and_then(|rest| rest.strip_suffix('/')) {
        return root.join("manual").join(chapter).with_extension("md").exists();
    }
    if let Some(module) = page.strip_suffix('/') {
        return root.join(module).join("mod.rs").exists();
    }
    let Some(name) = page.strip_suffix(".html").and_then(|page| page.split_once('.')) else {
        return page.is_empty();
    };
    let exported = fs::read_to_string(root.join("lib.rs")).unwrap();
    let mut words = exported.split(|it: char| !it.is_alphanumeric());
    ["struct", "enum", "trait"].contains(&name.0) && words.any(|word| word == name.1)
}

/// Whether a link in this file leads anywhere.
fn is_alive(path: &str, text: &str, link: &str) -> bool {
    if let Some(page) = link.strip_prefix("https://docs.rs/tower-sse/latest/tower_sse/") {
        return is_documented(page);
    }
    if link.contains("://") {
        return link.starts_with("https://");
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let anchors = match target {
        "" => anchors(text),
        // rustdoc looks at the paths of items, and not at what stands after them.
        item if item.starts_with("crate::") && anchor.is_empty() => return true,
        item if item.starts_with("crate::") => match item.strip_prefix("crate::manual::") {
            Some(chapter) => anchors(&file(&format!("src/manual/{chapter}.md"))),
            None => anchors_of_sources(&root().join("src")),
        },
        other => {
            let linked = root().join(path).parent().unwrap().join(other);
            match fs::read_to_string(&linked) {
                Ok(text) => anchors(&text),
                Err(_) if anchor.is_empty() && linked.exists() => Vec::new(),
                Err(_) => return false,
            }
        }
    };
    anchor.is_empty() || anchors.iter().any(|other| other == anchor)
}

#[test]
fn no_link_in_the_prose_is_dead() {
    let mut count = 0;
    for (path, text) in prose() {
        for link in links(&text) {
            assert!(is_alive(&path, &text, &link), "{path}: {link} is dead");
            count += 1;
        }
    }
    assert!(count > 200, "{count} links");
}

/// Their crates are no dependencies of the tests here.
#[test]
fn rust_that_is_not_compiled_is_in_an_example() {
    for (path, text) in prose() {
        for block in text.split("```rust,ignore\n").skip(1) {
            assert_eq!(path, "src/manual/watching.md", "its blocks are to be compiled");
            let (block, _) = block.split_once("```").unwrap();
            let example = file("examples/observe.rs");
            for call in [".install_recorder()?", ".route(\"/metrics\", get(async move || "] {
                assert!(block.contains(call), "{block}");
                assert!(example.contains(call.trim_end_matches('?')), "{call}");
            }
        }
    }
}

#[test]
fn names_of_links_are_used_and_defined() {
    for (path, text) in prose() {
        let text = without_code(&text);
        for (name, _) in definitions(&text) {
            let count = text.matches(&format!("[{name}]")).count();
            assert!(count > 1, "{path}: nothing links to [{name}]");
        }
    }
    // In chapters rustdoc sees it.
    let readme = without_code(&file("README.md"));
    let defined = definitions(&readme);
    for rest in readme.split('[').skip(1) {
        let (name, rest) = rest.split_once(']').unwrap();
        let is_link = rest.starts_with(['(', ':']) || name.contains(['[', '!']);
        assert!(is_link || defined.iter().any(|(other, _)| other == name), "[{name}] is no link");
    }
}
