//! The strata of the sources, and the one direction in which they name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each stratum, lowest first, and the strata it may name.
#[rustfmt::skip]
const STRATA: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("engine", &["wire"]),
    ("roster", &[]),
    ("observe", &["engine"]),
    ("state", &["wire", "engine", "roster", "observe"]),
    ("dialect", &["wire", "engine"]),
    ("plan", &["engine", "state", "dialect"]),
    ("driver", &["engine", "roster", "observe", "state", "dialect", "plan"]),
    ("body", &["state", "driver"]),
    ("service", &["wire", "engine", "observe", "state", "dialect", "plan", "driver", "body"]),
    ("registry", &["wire", "engine", "roster", "observe", "state"]),
    ("limit", &["engine", "state"]),
    ("guard", &["roster", "state"]),
    ("readiness", &["state"]),
    ("shutdown", &["engine", "state", "guard", "readiness"]),
    ("serialize", &["wire", "engine", "state", "registry"]),
    (
        "layer",
        &["wire", "engine", "state", "dialect", "plan", "service", "registry", "limit", "shutdown"],
    ),
    ("early_head", &["wire", "dialect", "engine", "plan", "service"]),
    ("client", &[]),
    ("event_log", &["wire", "observe", "state"]),
    ("hub", &["wire", "event_log"]),
    ("resume", &["wire", "observe", "state", "dialect", "service", "event_log"]),
    ("axum_impls", &["wire", "event_log", "hub"]),
    ("manual", &[]),
    ("testing", &["wire"]),
];

/// What any of them may name, and what holds them together.
const FOR_ALL: &[&str] = &["error", "static_body", "sync"];
const ROOT: &str = "lib";

/// Strata that do no I/O and read no clock, and what would tell that they do.
const SANS_IO: &[&str] = &["wire", "engine"];
const IO: &[&str] =
    &["tokio", "http::", "http_body", "tower", "std::net", "std::io", "::now(", "async "];

/// What only these strata do. `body` polls bodies and `service` calls services. `readiness` answers
/// probes itself, `shutdown` a `preStop` hook, and `client` serves scripts, all with a
/// `static_body`, `hub` makes bodies of its own, and `resume` takes the place of a handler, with a
/// body, a service and timers of its own, as `early_head` does around a handler. Streams (`driver`)
/// and connections (`guard`) have timers.
const ONCE: &[(&str, &[&str])] = &[
    ("fn poll_frame", &["body", "static_body", "early_head", "hub", "resume", "testing"]),
    ("fn call", &["service", "readiness", "shutdown", "early_head", "client", "resume"]),
    ("Sleep", &["driver", "guard", "early_head", "resume", "sync"]),
    ("fn poll_write", &["guard"]),
];

/// Folders whose files still name each other in circles.
const CIRCULAR: &[&str] = &["event_log/broker", "event_log/redis"];

/// A file of the library: its stratum, its path, and its code without comments and tests.
struct Source {
    stratum: String,
    path: String,
    /// Whether `super` is the root of the crate here.
    top: bool,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_of_tests = ["support.rs", "tests", "tests.rs"];
            if is_of_tests.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                sources.push(Source::read(&root, path));
            }
        }
    }
    assert!(sources.len() > 40, "the sources are not where they were");
    sources
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root).unwrap().to_owned();
        let stratum = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let top = path.iter().count() == 1 || path.ends_with("mod.rs");
        Self {
            stratum: stratum.to_owned(),
            path: path.display().to_string(),
            top: top && path.iter().count() <= 2,
            code: code(&text),
        }
    }

    /// The strata that this file names, and what it names of the crate's root.
    fn names(&self) -> Vec<&str> {
        let paths = self.code.split("crate::").skip(1);
        let ident = |path: &str| path.find(|it: char| !it.is_alphanumeric() && it != '_');
        paths.map(|path| &path[..ident(path).unwrap_or(path.len())]).collect()
    }
}

/// What is compiled into the library: no comments, and no tests, which may name anything and stand
/// at the end of their file.
fn code(text: &str) -> String {
    let inline_tests = text.find("\nmod tests {").unwrap_or(text.len());
    let lines = text[..inline_tests].lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn names_of(stratum: &str) -> &'static [&'static str] {
    let found = STRATA.iter().find(|(name, _)| *name == stratum);
    found.unwrap_or_else(|| panic!("`{stratum}` has no place in the strata")).1
}

#[test]
fn strata_name_only_lower_ones() {
    for (at, (stratum, names)) in STRATA.iter().enumerate() {
        for name in *names {
            assert!(STRATA[..at].iter().any(|it| it.0 == *name), "{name} is not below {stratum}");
        }
    }
}

/// The page that contributors read.
const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");

#[test]
fn contributors_are_told_of_the_strata_as_they_are() {
    let rows = STRATA.iter().map(|(stratum, names)| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        (format!("| `{stratum}` |"), names.join(", "))
    });
    let mut lines =
        CONTRIBUTING.lines().skip_while(|line| !line.starts_with("| stratum |")).skip(2);
    for (stratum, names) in rows {
        let line = lines.next().unwrap_or_default();
        let may_name = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        assert!(
            line.starts_with(&stratum) && may_name.trim() == names,
            "{stratum} {names}: {line}"
        );
    }
    assert_eq!(lines.next(), Some(""), "there are more");
}

#[test]
fn the_files_that_contributors_are_sent_to_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let quoted = CONTRIBUTING.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|quoted| quoted.starts_with("src/") || quoted.starts_with("tests/"));
    let paths: Vec<_> = paths.filter(|path| !path.contains(['<', '*', ' '])).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{path}");
    }
}

#[test]
fn sources_name_only_the_strata_that_they_may() {
    for source in sources() {
        let Source { stratum, path, .. } = &source;
        if FOR_ALL.contains(&&**stratum) || stratum == ROOT {
            continue;
        }
        let may = names_of(stratum);
        for name in source.names() {
            let free = name == stratum || FOR_ALL.contains(&name) || name == "InvalidSetting";
            assert!(
                free || may.contains(&name),
                "src/{path} names `{name}`; `{stratum}` may name only {may:?}"
            );
        }
    }
}

#[test]
fn no_source_goes_round_by_its_parents() {
    for source in sources().iter().filter(|source| source.stratum != ROOT) {
        let way = if source.top { "super::" } else { "super::super" };
        assert!(!source.code.contains(way), "src/{} leaves its stratum by `{way}`", source.path);
    }
}

/// What the paths in `code` that begin with `start` name first, each item of a list of them.
fn named_after<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let paths = code.split(start).skip(1);
    let items = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(list) => items_of(list),
        None => vec![path],
    });
    items.map(first_ident).filter(|name| !name.is_empty()).collect()
}

/// The items of a list of paths, up to the brace that ends it. Lists within are parts of theirs.
fn items_of(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, it) in list.char_indices() {
        match it {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                items.push(list[from..at].trim_start());
                from = at + 1;
                if it == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

fn first_ident(path: &str) -> &str {
    path.split(is_no_ident).next().unwrap_or_default()
}

fn is_no_ident(it: char) -> bool {
    !it.is_alphanumeric() && it != '_'
}

/// Each folder of the sources that has a `mod.rs`.
fn folders(sources: &[Source]) -> Vec<&str> {
    sources.iter().filter_map(|it| it.path.strip_suffix("/mod.rs")).collect()
}

/// The files and folders in a folder, each with those of them that it names: themselves, or by what
/// the parent takes from them.
fn children_of<'a>(folder: &str, sources: &'a [Source]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let inside = |source: &'a Source| {
        let path = source.path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((path.split(['/', '.']).next()?, path, &*source.code))
    };
    let files: Vec<_> = sources.iter().filter_map(inside).collect();
    let (parent, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|it| it.1 == "mod.rs");
    let children: BTreeSet<&str> = files.iter().map(|it| it.0).collect();
    let mut taken: BTreeMap<&str, &str> = children.iter().map(|it| (*it, *it)).collect();
    for statement in parent[0].2.split(';') {
        let path = statement.rsplit_once("use ").and_then(|(_, path)| path.split_once("::"));
        if let Some((child, names)) = path.filter(|(child, _)| children.contains(child)) {
            let names = names.split(is_no_ident).filter(|name| !name.is_empty());
            taken.extend(names.map(|name| (name, child)));
        }
    }
    let from_root = format!("crate::{}::", folder.replace('/', "::"));
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (child, path, code) in files {
        let is_beside = path.split_once('/').is_none_or(|(_, path)| path == "mod.rs");
        let beside = if is_beside { named_after(code, "super::") } else { Vec::new() };
        let words = beside.into_iter().chain(named_after(code, &from_root));
        let others = words.filter_map(|word| taken.get(word).copied());
        named.entry(child).or_default().extend(others.filter(|other| *other != child));
    }
    named
}

#[test]
fn files_of_a_folder_name_each_other_in_one_direction() {
    let sources = sources();
    for folder in folders(&sources).iter().filter(|folder| !CIRCULAR.contains(folder)) {
        let mut children = children_of(folder, &sources);
        loop {
            let left: BTreeSet<&str> = children.keys().copied().collect();
            children.retain(|_, names| !names.is_disjoint(&left));
            if children.len() == left.len() {
                break;
            }
        }
        assert!(children.is_empty(), "a circle in src/{folder}: {children:?}");
    }
}

#[test]
fn every_stratum_has_sources() {
    let sources = sources();
    for (stratum, _) in STRATA {
        assert!(sources.iter().any(|it| it.stratum == *stratum), "{stratum} is nowhere");
    }
}

#[test]
fn wire_and_engine_know_no_io_and_no_clock() {
    for source in sources().iter().filter(|source| SANS_IO.contains(&&*source.stratum)) {
        for io in IO {
            assert!(!source.code.contains(io), "src/{} names `{io}`", source.path);
        }
    }
}

#[test]
fn what_is_done_in_one_place_is_done_there_only() {
    for source in sources() {
        for (what, strata) in ONCE {
            let there = strata.contains(&&*source.stratum);
            assert!(there || !source.code.contains(what), "src/{} has `{what}`", source.path);
        }
    }
}

#[test]
fn the_engine_has_at_most_twelve_verbs() {
    let engine = sources().into_iter().find(|it| it.path == "engine/mod.rs").unwrap();
    let blocks = engine.code.split("\nimpl Engine {").skip(1);
    let verbs: usize = blocks
        .map(|block| block.split("\n}").next().unwrap_or_default())
        .map(|block| block.matches("\n    pub(crate) fn ").count())
        .sum();
    // With `new`.
    assert!((2..=13).contains(&verbs), "{verbs}");
}
