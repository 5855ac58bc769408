//! The front door: README, manual and outline agree with each other and with the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the chapters' files.
fn chapters() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let chapters = files.filter(|path| path.extension().is_some_and(|it| it == "md"));
    chapters.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The words between `before` and `after` in a text.
fn between<'a>(text: &'a str, before: &str, after: &str) -> BTreeSet<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split_once(after).unwrap().0).collect()
}

/// All prose for people: the manual, the outline, and the files about the repository's parts.
pub(crate) fn prose() -> Vec<(String, String)> {
    let manual = chapters().into_iter().map(|name| format!("src/manual/{name}.md"));
    let others =
        ["README.md", "llms.txt", "CONTRIBUTING.md", "benches/README.md", "client/README.md"];
    let all = manual.chain(others.map(str::to_owned));
    all.map(|path| (path.clone(), file(&path))).collect()
}

#[test]
fn the_manual_the_outline_and_the_readme_name_each_chapter() {
    let chapters = chapters();
    assert!(chapters.len() > 15);
    let module = file("src/manual/mod.rs");
    let listed = between(&module, "//! | [`", "`] |");
    assert_eq!(listed.iter().copied().collect::<Vec<_>>(), chapters.iter().collect::<Vec<_>>());
    let (outline, readme) = (file("llms.txt"), file("README.md"));
    let link = "https://docs.rs/tower-sse/latest/tower_sse/manual/";
    assert_eq!(between(&outline, link, "/"), listed);
    for linked in between(&readme, link, "/") {
        assert!(
            listed.contains(linked),
            "the README links a chapter that does not exist: {linked}"
        );
    }
}

/// The list of the manual, the outline, and the first line of the chapter itself.
#[test]
fn each_chapter_is_about_the_same_wherever_it_is_named() {
    let (module, outline) = (file("src/manual/mod.rs"), file("llms.txt"));
    for name in chapters() {
        let row = format!("//! | [`{name}`] | ");
        let (_, about) = module.split_once(&row).expect(&name);
        let about = about.split_once(" |").unwrap().0;
        let link = format!("- [{name}](https://docs.rs/tower-sse/latest/tower_sse/manual/{name}/)");
        assert!(outline.contains(&format!("{link}: {about}\n")), "llms.txt on {name}: {about}");
        let chapter = file(&format!("src/manual/{name}.md"));
        let first = chapter.lines().next().unwrap();
        assert_eq!(first.to_lowercase(), format!("{about}.").to_lowercase(), "{name}");
    }
}

#[test]
fn the_readme_is_short_enough_to_be_read() {
    let lines = file("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.png");
    let bytes = fs::metadata(picture).unwrap().len();
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn files_that_the_readme_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = file("README.md");
    let links = between(&readme, "](", ")");
    let files: Vec<PathBuf> = links
        .into_iter()
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| root.join(link))
        .collect();
    assert!(files.len() > 1);
    for file in files {
        assert!(file.exists(), "{}", file.display());
    }
    let list = readme.split_once("## Examples").unwrap().1.split_once("##").unwrap().0;
    for example in list.split('`').skip(1).step_by(2) {
        let path = root.join("examples").join(example);
        assert!(path.is_dir() || path.with_extension("rs").exists(), "no example {example}");
    }
}

#[test]
fn features_that_the_prose_names_exist() {
    let manifest = file("Cargo.toml");
    let (_, features) = manifest.split_once("\n[features]\n").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let known = features.lines().filter_map(|line| line.split_once(" = "));
    let known: BTreeSet<_> = known.map(|(name, _)| name).collect();

    let readme = file("README.md");
    let (_, table) = readme.split_once("| | feature |").unwrap();
    let mut named = BTreeSet::from(["default".to_owned(), "testing".to_owned()]);
    for line in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cell = line.trim_matches('|').split('|').nth(1).unwrap();
        let mut base = "";
        for name in cell.split('`').skip(1).step_by(2) {
            // After `redis`, `-tls` is short for `redis-tls`.
            base = if name.starts_with('-') { base } else { name };
            named.insert(if name.starts_with('-') { base.to_owned() + name } else { name.into() });
        }
    }
    for name in &named {
        assert!(known.contains(&**name), "the README names a feature that does not exist: {name}");
    }
    // Those with a dash add to another one.
    for name in known.iter().filter(|name| !name.contains('-')) {
        assert!(named.contains(*name), "the README does not name the feature {name}");
    }

    for (path, text) in prose() {
        for rest in text.split("he feature `").skip(1) {
            let (name, _) = rest.split_once('`').unwrap();
            assert!(known.contains(name), "{path} names a feature that does not exist: {name}");
        }
    }
}

#[test]
fn metrics_that_the_manual_names_exist() {
    let table = file("src/observe/mod.rs");
    let known = between(&table, "//! | `tower_sse_", "`");
    assert!(known.len() > 8);
    for path in ["src/manual/watching.md", "src/manual/dashboard.json"] {
        let text = file(path);
        let named = text.split("tower_sse_").skip(1).map(|rest| {
            let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '_').unwrap();
            rest[..end].trim_end_matches("_bucket")
        });
        for name in named {
            assert!(known.contains(name), "{path} names tower_sse_{name}, which does not exist");
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("src/manual/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places = BTreeSet::new();
    for panel in panels {
        let at = &panel["gridPos"];
        assert!(places.insert((at["x"].as_u64(), at["y"].as_u64())), "{}", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty());
    }
    assert!(panels.len() > 4);
}

#[test]
fn prose_is_in_the_words_of_the_field() {
    for (path, text) in prose() {
        for (number, line) in text.lines().enumerate() {
            let at = format!("{path}:{}: {line}", number + 1);
            let is_table = line.starts_with('|');
            assert!(
                is_table || line.chars().count() <= 140 || line.contains("](http"),
                "long: {at}"
            );
            for word in line.split(|it: char| !it.is_alphanumeric()) {
                assert!(!["who", "whoever", "Who", "Whoever"].contains(&word), "a subject: {at}");
            }
        }
    }
}
