//! Limits that the documentation names are those of the sources.

use crate::harness::figures::{figure, in_one_line};

/// The number that a constant has: one, or a product of some, whatever it is the number of.
fn constant(path: &str, name: &str) -> f64 {
    let text = in_one_line(path);
    let (_, rest) = text.split_once(&format!("const {name}: ")).expect(name);
    let (_, rest) = rest.split_once(" = ").expect(name);
    let value = rest.split([';', '>']).next().expect(name);
    let value = value.split_once('(').map_or(value, |(_, value)| value.trim_end_matches(')'));
    let factor = |it: &str| it.trim().replace('_', "").parse::<f64>();
    value.split('*').map(|it| factor(it).unwrap_or_else(|_| panic!("{path}: {name}"))).product()
}

/// A number that a file says between these words, in units of so many, and the constant that it is.
type Limit = ((&'static str, &'static str, &'static str), f64, (&'static str, &'static str));

const KIB: f64 = 1024.0;
const HOUR: f64 = 60.0 * 60.0;

const TOPIC: (&str, &str) = ("src/event_log/topic.rs", "MAX_TOPIC_LEN");
const TOPICS: (&str, &str) = ("src/event_log/topics.rs", "MAX_TOPICS");
const ID: (&str, &str) = ("src/event_log/start.rs", "MAX_ID_LEN");
const MESSAGE: (&str, &str) = ("src/event_log/once.rs", "MAX_MESSAGE_ID_LEN");
const LABEL: (&str, &str) = ("src/state/stream_info.rs", "MAX_LABEL_LEN");
const JOINED: (&str, &str) = ("src/event_log/memory/stored.rs", "MAX_JOINED_LEN");
const BATCH: (&str, &str) = ("src/event_log/postgres/writer.rs", "MAX_BATCH");
const CLOCK: (&str, &str) = ("src/driver/registry.rs", "CLOCK_EVERY");

#[rustfmt::skip]
const LIMITS: &[Limit] = &[
    // Text.
    (("src/event_log/topic.rs", "A name has from 1 to ", " bytes"), 1.0, TOPIC),
    (("src/event_log/once.rs", "An id has from 1 to ", " bytes"), 1.0, MESSAGE),
    (("src/event_log/once.rs", "has more than ", " bytes"), 1.0, MESSAGE),
    (("src/state/stream_info.rs", "A label has at most ", " bytes"), 1.0, LABEL),
    (("src/state/stream_info.rs", "if `text` has more than ", " bytes"), 1.0, LABEL),
    (("src/event_log/start.rs", "one longer than ", " bytes"), 1.0, ID),
    (("src/event_log/start.rs", "unless it is longer than ", " bytes"), 1.0, ID),
    (("src/event_log/mod.rs", "Ids are opaque, at most ", " bytes long"), 1.0, ID),
    (("CONTRIBUTING.md", "Ids are at most ", " bytes long"), 1.0, ID),
    (("src/state/limit_key.rs", "Of **text** longer than ", " bytes"), 1.0, ("src/state/limit_key.rs", "MAX_KEY_LEN")),
    (("src/resume/key.rs", "is longer than ", " bytes"), 1.0, ("src/resume/key.rs", "MAX_PART_LEN")),

    // Topics of a client.
    (("src/event_log/topics.rs", "or if there are more than ", ""), 1.0, TOPICS),
    (("src/hub/requested.rs", "no client can follow more than ", ""), 1.0, TOPICS),
    (("src/event_log/memory/mod.rs", "by name, of which there are at most ", ""), 1.0, TOPICS),
    (("src/hub/requested.rs", "topics, by default ", ": so many names"), 1.0, ("src/hub/requested.rs", "MOST")),

    // The log in memory.
    (("src/event_log/memory/mod.rs", "by name for the last ", " topics that ended"), 1.0, ("src/event_log/memory/directory.rs", "MAX_REMEMBERED")),
    (("src/event_log/memory/mod.rs", "a call of the log looks at up to ", " topics"), 1.0, ("src/event_log/memory/inner.rs", "MAX_SWEPT")),
    (("src/event_log/memory/mod.rs", "share a list of the last ", " events"), 1.0, ("src/event_log/memory/feed.rs", "MAX_ENTRIES")),
    (("src/event_log/memory/mod.rs", "themselves, at up to ", " in one poll"), 1.0, ("src/event_log/memory/merged.rs", "MAX_LOOKS")),
    (("src/event_log/memory/builder.rs", "event is trimmed: at most ", " KiB"), KIB, JOINED),
    (("src/hub/body.rs", "looks at no event, up to ", " KiB"), KIB, JOINED),
    (("src/manual/costs.md", "An event of up to ", " KiB is one allocation"), KIB, ("src/event_log/memory/encoding.rs", "MAX_PACKED_LEN")),

    // Logs of brokers.
    (("src/event_log/redis/mod.rs", "an event of at most ", " bytes is in the feed"), 1.0, ("src/event_log/redis/protocol.rs", "MAX_FEED_EVENT")),
    (("src/event_log/postgres/mod.rs", "at most ", " bytes come with it"), 1.0, ("src/event_log/postgres/reader.rs", "MAX_FEED_EVENT")),
    (("src/event_log/postgres/mod.rs", "into one transaction, up to ", ""), 1.0, BATCH),
    (("src/manual/nodes.md", "into one transaction, up to ", " of them"), 1.0, BATCH),
    (("src/event_log/nats/mod.rs", "remembers ", " topics to forget"), 1.0, ("src/event_log/nats/forget.rs", "MAX_PENDING")),

    // Streams.
    (("src/resume/layer.rs", "encoded events, and ", " bytes for each"), 1.0, ("src/resume/settings.rs", "EVENT_OVERHEAD")),
    (("src/early_head/mod.rs", "JSON of up to ", " KiB that comes"), KIB, ("src/early_head/late.rs", "MAX_ANSWER")),
    (("src/observe/mod.rs", "nothing to send, every ", " KiB"), KIB, ("src/observe/stream.rs", "BATCH")),
    (("src/registry/builder.rs", "every ", " frames only"), 1.0, CLOCK),
    (("src/registry/builder.rs", "shown as stalled after up to ", " times as"), 1.0, CLOCK),
    (("src/state/stream_info.rs", "burst it is updated every ", " frames"), 1.0, CLOCK),
    (("src/layer/close_at_end.rs", "The `retry` of ", " hours"), HOUR, ("src/engine/ending.rs", "FINISHED_RETRY")),
    (("src/shutdown/signals.rs", "Signals within ", " ms after"), 1.0, ("src/shutdown/signals.rs", "ONE_SIGNAL")),
];

#[test]
fn limits_that_are_said_are_those_of_the_sources() {
    for ((path, before, after), unit, (source, name)) in LIMITS {
        let (said, is) = (figure(path, before, after) * unit, constant(source, name));
        assert!((said - is).abs() < 0.5, "{path}: {before}{said}{after}, but {name} is {is}");
    }
}

/// Those that are words: where, what, the constant, and what it has to be.
#[test]
fn limits_that_are_said_in_words_are_those_of_the_sources() {
    #[rustfmt::skip]
    let limits = [
        ("src/shutdown/mod.rs", "connections have a quarter of a second to send", ("src/state/drain.rs", "LAST_BYTES"), 250.0),
        ("src/manual/resume.md", "`close` with a `retry` of a day", ("src/resume/settings.rs", "DAY"), 24.0 * HOUR),
        ("src/resume/layer.rs", "More than a year counts as a year", ("src/resume/layer.rs", "MAX_WAIT"), 365.0 * 24.0 * HOUR),
        ("src/hub/body.rs", "if four or more events are ready together", ("src/event_log/memory/stored.rs", "MIN_JOINED_EVENTS"), 4.0),
    ];
    for (path, words, (source, name), value) in limits {
        assert!(in_one_line(path).contains(words), "{path} has to say: {words}");
        let is = constant(source, name);
        assert!((value - is).abs() < 0.5, "{path}: {words}, but {name} is {is}");
    }
}

/// What the documentation works out of defaults, which `manual_defaults.rs` holds.
#[test]
fn what_defaults_amount_to_is_what_they_multiply_to() {
    let memory = |before, after| figure("src/event_log/memory/builder.rs", before, after);
    let conflation = |before, after| figure("src/hub/conflation.rs", before, after);
    let nats = |before, after| figure("src/event_log/nats/builder.rs", before, after);
    let of_nats = |name| constant("src/event_log/nats/batch.rs", name);
    let requested = |before, after| figure("src/hub/requested.rs", before, after);
    let minutes = 60.0;
    #[rustfmt::skip]
    let products = [
        ([memory("which is ", " KiB for each of the"), memory("KiB for each of the ", " events")], KIB),
        ([memory("number of topics it is ", " KiB for each"), 65_536.0], 256.0 * KIB),
        ([conflation("which is ", " bytes for each of the"), conflation("bytes for each of the ", " events")], 256.0 * KIB),
        ([nats("So ", " replays are") * of_nats("MAX_BYTES"), 1.0], nats("at the server, and ", " MiB here") * KIB * KIB),
        ([requested("topics, by default ", ": so many"), constant(TOPIC.0, TOPIC.1)], requested("greatest length are ", " KiB") * KIB),
    ];
    for (factors, product) in products {
        assert!((factors[0] * factors[1] - product).abs() < 0.5, "{factors:?} {product}");
    }
    let second = memory("which is ", " messages a second for 2 minutes");
    let ids = second * 2.0 * minutes;
    assert!((60_000.0..=65_536.0).contains(&ids), "{ids}");
}

/// A keepalive is half of the shortest time after which a proxy closes what is silent.
#[test]
fn the_keepalive_is_half_of_the_shortest_idle_limit_that_the_manual_lists() {
    let text = crate::manual::file("src/manual/proxies.md");
    let rows = text.lines().filter(|line| line.matches(" | ").count() == 3);
    let limits = rows.filter_map(|row| {
        let (limit, _) = row.split('|').nth(3)?.split_once(" s")?;
        limit.trim().parse::<f64>().ok()
    });
    let mut limits: Vec<f64> = limits.collect();
    assert!(limits.len() > 5, "{limits:?}");
    let proxies = |before, after| figure("src/manual/proxies.md", before, after);
    limits.push(proxies("CloudFront closes silent streams after ", " s"));
    let shortest = limits.into_iter().fold(f64::INFINITY, f64::min);
    let keepalive = proxies("A keepalive every ", " s is below all of these: half");
    assert!((keepalive * 2.0 - shortest).abs() < 0.5, "{keepalive}, {shortest}");
    let is = constant("src/dialect/spec.rs", "INTERVAL");
    assert!((keepalive - is).abs() < 0.5, "{keepalive}, {is}");
}
