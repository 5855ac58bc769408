//! Figures in the prose are those that were measured, and claims of the README have their tests.

use std::ops::Range;

use crate::harness::figures::in_one_line;
use crate::manual::file;

/// The rows of the table below a heading, with their first cells.
fn rows(path: &str, heading: &str) -> Vec<(String, Vec<String>)> {
    let text = file(path);
    let (_, below) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    let table = below.lines().skip_while(|line| !line.starts_with('|'));
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        (cells.next().unwrap(), cells.collect())
    };
    table.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// A figure of a table of the benches.
fn figure(heading: &str, row: &str, column: &str) -> f64 {
    let rows = rows("benches/README.md", heading);
    let at = rows[0].1.iter().position(|cell| cell == column).expect(column);
    let row = rows.iter().find(|(name, _)| name == row).expect(row);
    row.1[at].parse().unwrap()
}

/// The figures that a bench printed in the line that begins so, in the block that begins so.
fn printed(block: &str, line: &str) -> Vec<f64> {
    let text = file("benches/README.md");
    let (_, below) = text.split_once(block).expect(block);
    let line = below.lines().find(|other| other.starts_with(line)).expect(line);
    let words = line.split(|it: char| it.is_whitespace() || it == ',').skip(1);
    let number = |word: &str| word.trim_end_matches(['x', '%']).parse().ok();
    words.filter_map(number).collect()
}

pub(crate) fn assert_says(path: &str, sentence: &str) {
    assert!(in_one_line(path).contains(sentence), "{path} has to say: {sentence}");
}

#[test]
fn figures_of_times_are_those_of_the_benches() {
    let event = |layers| figure("## Time for an event", layers, "256 B");
    let both = event("keepalive and shutdown");
    let burst = figure("## One event to many clients", "10,000", "64 events at once");
    let sentence = format!(
        "keepalive and shutdown together take {both:.2} of its time for an event of 256 bytes, ids \
         {:.2}, and a burst to 10,000 clients of a hub {burst:.2}",
        event("ids")
    );
    assert_says("README.md", &sentence);
    assert_says("README.md", &format!("| {both:.2} of the time |"));
    assert_says("README.md", &format!("| {burst:.2} of the time, in bursts |"));
    let sentence = format!("A hub's burst of 64 events to 10,000 clients takes {burst:.2} of");
    assert_says("src/manual/costs.md", &sentence);

    for clients in ["1", "100", "10,000"] {
        let single = figure("## One event to many clients", clients, "one event at a time");
        assert!((0.85..1.15).contains(&single), "{clients}: {single}");
    }
    assert_says("src/manual/costs.md", "Single events cost the same");

    let waking = |line| *printed("waiting streams", line).last().unwrap();
    let sentence = format!(
        "takes about {:.1} times as long as waking them for nothing, and a drain, which has a \
         farewell for each, about {:.1} times",
        waking("broadcast"),
        waking("drain")
    );
    assert_says("src/manual/costs.md", &sentence);
}

#[test]
fn figures_of_instructions_are_those_of_the_benches() {
    let of_sizes = |pace: &str, layers: &str| {
        let block = format!("instructions a frame over an empty middleware, {pace}, 1 events");
        printed(&block, layers)
    };
    for pace in ["burst", "live"] {
        let counts = of_sizes(pace, "keep_alive ");
        assert_eq!(counts.len(), 4);
        // A count is cut to whole instructions.
        assert!(counts.iter().all(|count| (count - counts[0]).abs() <= 1.0), "{pace}: {counts:?}");
    }
    assert_eq!(printed("allocations a frame", "keep_alive "), [0.0]);
    let sentence = "a keepalive costs the same for 64 bytes and for 64 KiB, makes no allocation";
    assert_says("src/manual/costs.md", sentence);
    let most = |pace: &str, layers: &str| of_sizes(pace, layers).into_iter().fold(0.0, f64::max);
    let simple = |pace| {
        let layers = ["keep_alive ", "shutdown ", "keep_alive+shutdown "];
        layers.map(|layers| most(pace, layers)).into_iter().fold(0.0, f64::max)
    };
    let (burst, live) = (simple("burst"), simple("live"));
    let sentence = format!("at most {burst} instructions a frame in a burst, {live} one at a time");
    assert_says("src/manual/costs.md", &sentence);
    let assert_times = |layers: &str, times: Range<f64>, words: &str| {
        for (pace, simple) in [("burst", burst), ("live", live)] {
            let ratio = most(pace, layers) / simple;
            assert!(times.contains(&ratio), "{layers}, {pace}: {ratio}");
        }
        assert_says("src/manual/costs.md", words);
    };
    assert_times("registry ", 3.5..5.5, "| registry | four to five times that |");
    assert_times("keep_alive+rotation ", 2.5..3.5, "| rotation | about three times that |");

    let observed = ["burst", "live"].into_iter().flat_map(|pace| {
        let text = file("benches/README.md");
        let (_, below) = text.split_once("observed, and the difference").unwrap();
        let lines = below.lines().filter(|line| line.starts_with(pace)).take(4);
        let percent = |line: &str| line.split_whitespace().nth_back(1)?.parse::<f64>().ok();
        lines.filter_map(percent).collect::<Vec<_>>()
    });
    let most = observed.fold(0.0, f64::max);
    assert!(most > 0.0);
    let sentence = format!("With all five layers they then cost up to {most:.0} % more");
    assert_says("src/manual/costs.md", &sentence);
}

#[test]
fn figures_of_memory_are_those_of_the_benches() {
    let idle = printed("heap of an idle stream over", "keep_alive+shutdown ");
    assert!(idle.iter().all(|heap| (200.0..=256.0).contains(heap)), "{idle:?}");
    assert_says("README.md", "An idle stream takes at most 256 bytes of heap");
    assert_says("src/manual/costs.md", "An idle stream takes at most 256 bytes of heap");
    let follower = printed("heap of a follower that waits", "behind many events");
    assert_eq!(follower.len(), 2);
    assert!(follower.iter().all(|heap| (80.0..=120.0).contains(heap)), "{follower:?}");
    assert_says("src/manual/costs.md", "takes about 100 bytes more");
    for readers in ["0 ", "1 ", "100 ", "10000 "] {
        let allocations = printed("allocations an event, published", readers);
        assert!(allocations.iter().all(|count| (1.0..1.1).contains(count)), "{allocations:?}");
    }
    assert_says("src/manual/costs.md", "is one allocation, however many clients follow");
}

#[test]
fn what_the_readme_says_is_measured_is_tested() {
    let count = |path, heading| rows(path, heading).len() - 2;
    let (clients, sdks) = (
        count("src/manual/clients.md", "# Clients of event streams"),
        count("src/manual/clients.md", "# SDKs"),
    );
    let proxies = count("src/manual/proxies.md", "# What is tried");
    let tried = [format!("| {clients} clients, {sdks} SDKs |"), format!("| {proxies} proxies |")];
    let mcp = "ctrl_c_ends_streams_that_listen_at_once_and_lets_calls_answer";
    let claims = [
        ("| 5 minutes → 3 s |", "tests/programs/examples/mcp.rs", mcp),
        ("| at 200 a second |", "tests/it/drain_rate.rs", "streams_end_at_the_rate"),
        (
            "| never → 30 s |",
            "tests/it/stalled.rs",
            "the_stall_limit_alone_ends_a_client_that_stopped_reading",
        ),
        (&tried[0], "tests/programs/clients/mod.rs", "the_manual_lists_the_clients_that_are_tried"),
        (&tried[1], "tests/programs/proxies/mod.rs", "the_manual_lists_what_is_tried"),
    ];
    for (claim, path, test) in claims {
        assert_says("README.md", claim);
        assert!(file(path).contains(&format!("fn {test}()")), "{path} has no {test}");
    }
    assert_says("src/manual/mcp.md", "after 5 minutes, when rmcp drops idle sessions");
    assert_says("src/manual/mcp.md", "ends with the last call, after 3 s");
    let call = file("tests/programs/examples/mcp.rs");
    assert!(call.contains("const SECONDS: u32 = 3;"), "how long a call takes there");
    let idle = "assert!(SessionConfig::DEFAULT_KEEP_ALIVE.as_secs() == 5 * 60);";
    assert!(file("examples/mcp/main.rs").contains(idle), "held when the example is compiled");
}

/// In the order in which they are used up, the last of them with what is left.
#[test]
fn the_times_of_the_example_for_kubernetes_fit_into_the_grace_period() {
    let text = file("src/manual/shutdown.md");
    let number_after = |words: &str| -> u64 {
        let (_, rest) = text.split_once(words).expect(words);
        let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().expect(words)
    };
    let table = |setting: &str| number_after(&format!("`{setting}` | "));
    let code = |setting: &str| number_after(&format!("    .{setting}(Duration::from_secs("));
    let [notice, window, deadline] = ["notice", "window", "deadline"].map(code);
    let rows =
        [table("Shutdown::builder().notice(..)"), table(".window(..)"), table(".deadline(..)")];
    assert_eq!(rows, [notice, window, deadline]);
    assert_eq!(table(".rate(..)"), number_after("    .rate("));
    let grace = number_after("terminationGracePeriodSeconds: ");
    assert_says(
        "src/manual/shutdown.md",
        &format!("| what | setting | of {grace} s, for example |"),
    );
    let left = number_after("| left for the process to end | | ");
    assert_eq!(notice + deadline + left, grace);
    assert!(window <= deadline && left >= 5);
    let (period, failures) = (number_after("periodSeconds: "), number_after("failureThreshold: "));
    assert!(period * failures < notice, "the pod is known to be gone before it stops to serve");
    let probes = format!("{notice} s, with probes every {period} s that fail twice");
    assert_says("src/manual/shutdown.md", &probes);
    assert_eq!(failures, 2);
}
