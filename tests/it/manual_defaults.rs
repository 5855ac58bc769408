//! The defaults that the documentation of settings states are those that hold, and the manual says
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tower::Layer;
use tower_sse::event_log::{MemoryLog, NatsLog, PostgresLog, RedisLog};
use tower_sse::hub::{Conflation, Snapshot, SnapshotRequest};
use tower_sse::resume::ResumeKey;
use tower_sse::{Dialect, EarlyHeadLayer, Event, Limit, Registry, ResumeLayer, Shutdown, SseLayer};

use crate::dialect_words;
use crate::harness::rig::{Handler, open};
use crate::manual::file;
use crate::manual_figures::assert_says;

/// What settings show of their defaults, by the file that documents them.
fn shown() -> Vec<(&'static str, String)> {
    let snapshot = Snapshot::by(|_: SnapshotRequest| async { Ok::<_, String>(Event::new()) });
    let resume = ResumeLayer::new(|_: &http::request::Parts| None::<ResumeKey>);
    vec![
        ("early_head/mod.rs", format!("{:?}", EarlyHeadLayer::new())),
        ("event_log/memory/builder.rs", format!("{:?}", MemoryLog::builder())),
        ("event_log/nats/builder.rs", format!("{:?}", NatsLog::builder())),
        ("event_log/postgres/builder.rs", format!("{:?}", PostgresLog::builder())),
        ("event_log/redis/builder.rs", format!("{:?}", RedisLog::builder())),
        ("guard/listener.rs", format!("{:?}", Shutdown::new().tcp_options())),
        ("hub/conflation.rs", format!("{:?}", Conflation::by_topic())),
        ("hub/snapshot.rs", format!("{snapshot:?}")),
        ("limit/builder.rs", format!("{:?}", Limit::builder())),
        ("registry/builder.rs", format!("{:?}", Registry::builder())),
        ("resume/layer.rs", format!("{resume:?}")),
        ("shutdown/builder.rs", format!("{:?}", Shutdown::builder())),
    ]
}

/// A setter, by its file and its name.
type Setter = (&'static str, &'static str);

/// A test, by its file and its name.
type Test = (&'static str, &'static str);

/// A sentence of a chapter with the defaults of these setters.
type Sentence<'a> = (&'a str, &'a str, &'a [Setter]);

/// Setters whose field has another name.
const FIELDS: [(Setter, &str); 3] = [
    (("resume/layer.rs", "buffer_bytes"), "bytes"),
    (("resume/layer.rs", "streams"), "max_sessions"),
    (("resume/layer.rs", "streams_of_principal"), "max_of_principal"),
];

/// Defaults that no value shows, and the tests that hold them.
const HELD: [(Setter, Test); 6] = [
    (
        ("dialect/builder.rs", "interval"),
        ("tests/it/manual_defaults.rs", "a_keepalive_comes_after_15_seconds_less_a_tenth_at_most"),
    ),
    (
        ("event_log/memory/builder.rs", "total_bytes"),
        (
            "src/event_log/memory/builder.rs",
            "all_topics_together_have_256_mib_or_what_one_may_have",
        ),
    ),
    (
        ("layer/keep_alive.rs", "jitter"),
        ("tests/it/manual_defaults.rs", "a_keepalive_comes_after_15_seconds_less_a_tenth_at_most"),
    ),
    (
        ("layer/rotation.rs", "retry"),
        ("tests/it/manual_wire.rs", "each_reason_of_an_end_is_told_and_counted_as_the_manual_says"),
    ),
    (
        ("layer/sse.rs", "hold_limit"),
        ("tests/it/manual_defaults.rs", "an_event_is_held_back_up_to_64_kib"),
    ),
    (
        ("shutdown/builder.rs", "window"),
        ("tests/it/drain_rate.rs", "many_streams_end_within_the_window"),
    ),
];

/// The figures of a text as settings show them: times, bytes and counts.
fn figures(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split([' ', '(', ')', '|']).filter(|it| !it.is_empty()).collect();
    let bare = |at: usize| words.get(at).map(|word| word.trim_end_matches(['.', ',', ':', ';']));
    let number = |at: usize| match bare(at)? {
        "one" => Some("1".to_owned()),
        "two" => Some("2".to_owned()),
        "ten" => Some("10".to_owned()),
        word => word.starts_with(|it: char| it.is_ascii_digit()).then(|| word.replace(',', "")),
    };
    let figure = |at: usize| {
        let number = number(at)?;
        // In "from 5 to 30 seconds" the unit of both comes after the second.
        let is_range = matches!(bare(at + 1), Some("to" | "and"));
        let unit = if is_range { bare(at + 3) } else { bare(at + 1) };
        let (seconds, bytes) = match unit {
            Some("s" | "second" | "seconds") => (1, 0),
            Some("minutes") => (60, 0),
            Some("hour" | "hours") => (60 * 60, 0),
            Some("KiB") => (0, 1024),
            Some("MiB") => (0, 1024 * 1024),
            _ => return Some(number),
        };
        let number: u64 = number.parse().unwrap();
        Some(match bytes {
            0 => format!("{:?}", Duration::from_secs(number * seconds)),
            _ => (number * bytes).to_string(),
        })
    };
    (0..words.len()).filter_map(figure).collect()
}

/// The first figures of a field, as it is shown.
fn field(shown: &str, name: &str) -> Option<Vec<String>> {
    let after = |shown: &'_ str, name| Some(shown.split_once(&format!(" {name}: "))?.1.to_owned());
    let value = name.split('/').try_fold(shown.to_owned(), |shown, name| after(&shown, name))?;
    let value = value.replace("..=", " ");
    let words = value.split([' ', ',', '{', '}', ':']).filter(|it| !it.is_empty());
    let figures = words.filter(|it| it.starts_with(|it: char| it.is_ascii_digit()));
    Some(figures.map(str::to_owned).collect())
}

/// The default that the documentation of a setter states, if it is a figure.
fn default_of(documentation: &str) -> Option<Vec<String>> {
    // What comes below a heading is about the defaults of others.
    let documentation = documentation.split(" # ").next()?;
    let stated = ["The default is ", "The defaults are ", "y default "];
    let stated = stated.iter().flat_map(|words| documentation.split(words).skip(1));
    stated.map(|rest| rest.strip_prefix("from ").unwrap_or(rest)).find_map(|rest| {
        let ends = [". ", ", ", "; ", ": "].iter().filter_map(|end| rest.find(end));
        let stated = &rest[..ends.min().unwrap_or(rest.len())];
        let begins = figures(stated.split(' ').next()?);
        (!begins.is_empty()).then(|| figures(stated))
    })
}

/// The documentation of the functions of a file, each in one line.
fn documentation(source: &str) -> BTreeMap<String, String> {
    let (mut functions, mut said) = (BTreeMap::new(), String::new());
    for line in source.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("/// ") {
            said = said + text + " ";
            continue;
        }
        if line.starts_with(['#', '/']) {
            continue;
        }
        let signature = line.strip_prefix("pub fn ").or(line.strip_prefix("pub const fn "));
        if let Some((name, _)) = signature.and_then(|it| it.split_once(['(', '<'])) {
            functions.insert(name.to_owned(), std::mem::take(&mut said));
        }
        said.clear();
    }
    functions
}

/// The names of all files of the sources, from `src` on.
fn sources(folder: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|path| {
        let name = path.strip_prefix(&root).unwrap();
        match path.extension() {
            None => sources(name),
            Some(extension) if extension == "rs" => vec![name.to_str().unwrap().to_owned()],
            Some(_) => Vec::new(),
        }
    });
    names.collect()
}

/// The default of a setter, as its documentation states it.
fn stated(path: &str, name: &str) -> Vec<String> {
    let functions = documentation(&file(&format!("src/{path}")));
    let said = functions.get(name).unwrap_or_else(|| panic!("{path} has no {name}"));
    default_of(said).unwrap_or_else(|| panic!("{path}: {name} states no default"))
}

#[test]
fn each_default_that_is_stated_holds() {
    let shown = shown();
    let (mut count, mut held) = (0, BTreeSet::new());
    for path in sources(Path::new("")) {
        for (name, said) in documentation(&file(&format!("src/{path}"))) {
            let Some(figures) = default_of(&said) else { continue };
            let setter = (path.as_str(), name.as_str());
            count += 1;
            if let Some((_, (test_path, test))) = HELD.iter().find(|(other, _)| *other == setter) {
                assert!(file(test_path).contains(&format!("fn {test}()")), "{test_path}: {test}");
                held.insert(setter.1.to_owned());
                continue;
            }
            let shown = shown.iter().find(|(other, _)| *other == path);
            let (_, shown) = shown.unwrap_or_else(|| panic!("no test holds {setter:?}"));
            let renamed = || {
                let (_, name) = FIELDS.iter().find(|(other, _)| *other == setter)?;
                field(shown, name)
            };
            // `window_events` is `events` in `window`.
            let nested = || field(shown, &setter.1.replacen('_', "/", 1));
            let holds = field(shown, setter.1).or_else(renamed).or_else(nested);
            let holds = holds.unwrap_or_else(|| panic!("no field of {setter:?}: {shown}"));
            assert_eq!(holds[..figures.len()], figures, "{setter:?}: {shown}");
        }
    }
    assert_eq!(held.len(), HELD.len());
    assert!(count > 45, "{count}");
}

#[test]
fn defaults_in_the_manual_are_those_of_the_documentation() {
    let (memory, conflation) = ("event_log/memory/builder.rs", "hub/conflation.rs");
    let (shutdown, resume) = ("shutdown/builder.rs", "resume/layer.rs");
    #[rustfmt::skip]
    let sentences: [Sentence<'_>; 14] = [
        ("broadcast", "A topic keeps 1,024 events, 1 MiB and 5 minutes",
            &[(memory, "events"), (memory, "bytes"), (memory, "age")]),
        ("broadcast", "at most 16 events wait for it", &[(conflation, "lag")]),
        ("broadcast", "up to 1,024 events and 256 KiB", &[(conflation, "events"), (conflation, "bytes")]),
        ("broadcast", "A snapshot takes at most 10 seconds", &[("hub/snapshot.rs", "timeout")]),
        ("broadcast", "At most 64 events wait for a stream that is not read", &[("registry/builder.rs", "mailbox")]),
        ("costs", "[`hold_limit`](crate::SseLayer::hold_limit) | 64 KiB |", &[("layer/sse.rs", "hold_limit")]),
        ("costs", "[`mailbox`](crate::RegistryBuilder::mailbox) | 64 |", &[("registry/builder.rs", "mailbox")]),
        ("costs", "| 16 KiB with `listen`", &[("guard/listener.rs", "notsent_lowat")]),
        ("costs", "[`stall_limit`](crate::ShutdownBuilder::stall_limit) | 30 s |", &[(shutdown, "stall_limit")]),
        ("costs", "[`linger`](crate::ResumeLayer::linger) | 1,024 events, 256 KiB, 30 s |",
            &[(resume, "buffer"), (resume, "buffer_bytes"), (resume, "linger")]),
        ("limits", "between 5 and 30 seconds", &[("limit/builder.rs", "retry")]),
        ("resume", "for the `linger` (30 s) and up to the `buffer` (1,024 events, 256 KiB) ahead",
            &[(resume, "linger"), (resume, "buffer"), (resume, "buffer_bytes")]),
        ("shutdown", "200 a second by default, over at most the [`window`](crate::ShutdownBuilder::window), 5 seconds.",
            &[(shutdown, "rate"), (shutdown, "window")]),
        ("shutdown", "At the [`deadline`](crate::ShutdownBuilder::deadline), 10 seconds, guarded", &[(shutdown, "deadline")]),
    ];
    for (chapter, sentence, setters) in sentences {
        assert_says(&format!("src/manual/{chapter}.md"), sentence);
        let stated: Vec<_> = setters.iter().flat_map(|(path, name)| stated(path, name)).collect();
        assert_eq!(figures(sentence), stated, "{chapter}: {sentence}");
    }
}

#[test]
fn a_head_is_early_after_the_time_that_is_stated() {
    let sends = "Sends the head after two seconds.";
    let said = documentation(&file("src/early_head/mod.rs"));
    assert!(said["new"].starts_with(sends), "{}", said["new"]);
    assert_says("src/manual/llm.md", "answers 200 after two seconds");
    let shown = format!("{:?}", EarlyHeadLayer::new());
    assert_eq!(field(&shown, "delay").unwrap()[..1], figures(sends));
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_comes_after_15_seconds_less_a_tenth_at_most() {
    let (most, jitter) = (Duration::from_secs(15), Duration::from_millis(1_500));
    for layer in [SseLayer::new(), SseLayer::new().dialect(Dialect::builder().build())] {
        let mut service = layer.layer(Handler);
        let mut intervals = Vec::new();
        for _ in 0..100 {
            let (_feed, mut client) = open(&mut service);
            assert_eq!(client.now().await.0, ":\n");
            let comments = client.during(most).await;
            assert_eq!((comments.len(), &*comments[0].1), (1, ":\n"), "{comments:?}");
            intervals.push(comments[0].0);
        }
        intervals.sort();
        let (shortest, longest) = (intervals[0], intervals[99]);
        assert!(shortest + jitter >= most && longest <= most, "{shortest:?} to {longest:?}");
        assert!(longest > shortest + jitter * 9 / 10, "{shortest:?} to {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_held_back_up_to_64_kib() {
    let limit = 64 * 1024;
    let event = format!("data: {}\n\n", "x".repeat(limit - "data: \n\n".len()));
    let (feed, mut client) = open(&mut SseLayer::new().layer(Handler));
    assert_eq!(client.now().await.0, ":\n");
    feed.data(event[..limit - 2].to_owned());
    assert_eq!(client.now().await.0.len(), 0);
    feed.data("\n\n");
    assert_eq!(client.now().await.0, event);
    // It is longer.
    feed.data(event.replace('\n', "x"));
    assert_eq!(client.now().await.0.len(), 0);
    feed.data("x");
    assert_eq!(client.now().await.0.len(), limit + 1);
}

#[test]
fn the_documentation_of_dialects_says_when_each_breaks_silence() {
    let table = file("src/dialect/mod.rs");
    let constructors: String =
        sources(Path::new("dialect")).iter().map(|path| file(&format!("src/{path}"))).collect();
    let constructors = documentation(&constructors);
    for words in dialect_words::all() {
        let shown = format!("{:?}", words.dialect);
        let name = shown.trim_start_matches("Dialect(").trim_end_matches(')');
        let (seconds, signal) = words.silence;
        let (row, sentence) = match signal {
            ":\n" => ("a comment", "a comment"),
            _ => ("`event: ping`", "the event `ping`"),
        };
        let row = format!("/// | [`{name}`](Self::{name}) | {row}, {seconds} s");
        assert!(table.contains(&row), "{row}");
        let sentence = format!("Silence is broken by {sentence} after {seconds} seconds");
        // Variants say what differs.
        if let Some(said) = constructors.get(name).filter(|said| said.contains("Silence")) {
            assert!(said.contains(&sentence), "{name}: {sentence}");
        }
    }
}
