//! Instructions that a frame costs, counted by callgrind; unlike times they do not depend on what
//! else the machine does.
//!
//! ```text
//! cargo bench --bench instructions            # the table
//! cargo bench --bench instructions -- --check # fails if a promise of the README is not kept
//! ```
//!
//! Its last part is what it costs to be observed by a recorder and a subscriber: with the features
//! `metrics` and `tracing` (`--all-features` has them); without, that it costs nothing.
//!
//! It needs `valgrind`. Each count is the difference of two runs of different length, divided by
//! the frames between them, less what the same frames cost through an empty middleware.

mod support;

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use metrics_util::debugging::DebuggingRecorder;
use support::figures::figure;
use support::requests::{AROUND, KINDS, SITES};
use support::{
    Framing, Pace, PassThrough, STACKS, Source, Stack, axum_sse, boxed, framing_of, poll, requests,
    runtime,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["run", name, pace, size, events, frames] = words[..] {
        run(name, pace, size.parse()?, events.parse()?, frames.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    table(words.contains(&"--check"))
}

/// The most instructions that the manual promises of a frame, for these.
const PROMISED: [&str; 3] = ["keep_alive", "shutdown", "keep_alive+shutdown"];

/// The most of a frame that nothing looks at, in bursts.
const NO_BUFFER: i64 = 34;

/// The most that a frame may cost, if that is promised.
#[expect(clippy::cast_possible_truncation, reason = "they are whole and small")]
fn promised(name: &str, pace: &str) -> Option<i64> {
    let costs = |before, after| figure("src/manual/costs.md", before, after) as i64;
    match pace {
        "burst" if name == "no_buffer" => Some(NO_BUFFER),
        "burst" if PROMISED.contains(&name) => {
            Some(costs("at most ", " instructions a frame in a burst") + ROUNDED)
        }
        "live" if PROMISED.contains(&name) => {
            Some(costs("in a burst, ", " one at a time") + ROUNDED)
        }
        _ => None,
    }
}

fn table(check: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut broken = 0;
    for (pace, events) in [("burst", 1), ("live", 1), ("burst", 16)] {
        println!(
            "\ninstructions a frame over an empty middleware, {pace}, {events} events a frame"
        );
        let sizes = [64, 256, 4096, 65536];
        println!("{:<24}{:>10}{:>10}{:>10}{:>10}", "", "64 B", "256 B", "4 KiB", "64 KiB");
        let empty = sizes.map(|size| count("empty", pace, size, events));
        for name in STACKS.iter().copied().chain(["axum", "axum+keep_alive"]) {
            let mut row = Vec::new();
            for (size, empty) in sizes.iter().zip(&empty) {
                // axum makes its events one by one.
                if name.starts_with("axum") && events > 1 {
                    continue;
                }
                let cost = count(name, pace, *size, events)?
                    - empty.as_ref().map_err(ToString::to_string)?;
                broken += u32::from(promised(name, pace).is_some_and(|most| cost > most));
                row.push(format!("{cost:>10}"));
            }
            println!("{name:<24}{}", row.concat());
        }
    }
    broken += framed()?;
    broken += other_responses()?;
    broken += observed()?;
    if check && broken > 0 {
        println!("\n{broken} counts are above what is promised");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a whole frame of another framing costs, and how many counts are above what is promised.
fn framed() -> Result<u32, Box<dyn Error>> {
    let mut broken = 0;
    println!("\n{FRAMED}, instructions a frame of 256 B over an empty middleware, burst");
    println!("{:<24}{:>10}{:>10}", "events a frame", 1, 16);
    let costs = |name: &str| -> Result<[i64; 2], Box<dyn Error>> {
        let of = |events| count(name, "burst", 256, events);
        let empty = |events| count("empty", "burst", 256, events);
        Ok([of(1)? - empty(1)?, of(16)? - empty(16)?])
    };
    let of_events = costs(FRAMED)?;
    println!("{:<24}{:>10}{:>10}", "events", of_events[0], of_events[1]);
    for (framing, word) in Framing::OTHERS {
        let others = costs(&format!("{FRAMED}, {word}"))?;
        println!("{word:<24}{:>10}{:>10}", others[0], others[1]);
        let more = MORE.iter().find(|(of, _)| *of == framing).map_or([0; 2], |(_, more)| *more);
        broken += u32::from((0..2).any(|at| others[at] > of_events[at] + more[at] + ROUNDED));
    }
    Ok(broken)
}

/// What the layers cost where nothing is a stream, beside empty ones, and how many counts are above
/// what is promised.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn other_responses() -> Result<u32, Box<dyn Error>> {
    let mut broken = 0;
    println!(
        "\ninstructions of a request whose response is no stream, and the ratio to an empty layer"
    );
    println!("{:<20}{}", "", AROUND.map(|around| format!("{around:>16}")).concat());
    for site in SITES {
        for kind in KINDS {
            let of = |around: &str| {
                let name = format!("{site}, {kind}, {around}");
                count_between(500, 1_500, &name, "burst", 0, 1)
            };
            let mut costs = Vec::new();
            for around in AROUND {
                costs.push(of(around)?);
            }
            let row: Vec<String> = costs.iter().map(|cost| format!("{cost:>16}")).collect();
            let row = row.concat();
            let [_, empty, one, five_empty, five] = costs[..] else { unreachable!() };
            let (one_ratio, five_ratio) =
                (one as f64 / empty as f64, five as f64 / five_empty as f64);
            println!("{:<20}{row}{one_ratio:>8.3}{five_ratio:>8.3}", format!("{site}, {kind}"));
            let most = MORE_A_REQUEST.iter().find(|(of, _)| *of == kind).map(|(_, most)| *most);
            broken += u32::from(site == "service" && Some(one - empty) > most);
            broken += u32::from(site == "connection" && one_ratio > MOST_OF_A_CALL);
            broken += u32::from(site == "connection" && five_ratio > MOST_OF_FIVE);
        }
    }
    Ok(broken)
}

/// What it adds to an event to be observed, and how many counts are above what is promised.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn observed() -> Result<u32, Box<dyn Error>> {
    let mut broken = 0;
    println!("\n{ALL}, instructions an event: not observed, observed, and the difference");
    for pace in ["burst", "live"] {
        for size in [64, 256, 4096, 65536] {
            let [empty, not, observed] =
                ["empty", ALL, OBSERVED].map(|name| count(name, pace, size, 1));
            let empty = empty?;
            let (not, observed) = (not? - empty, observed? - empty);
            let more = 100.0 * (observed - not) as f64 / not as f64;
            println!("{pace:<8}{size:>8} B{not:>10}{observed:>10}{more:>10.1} %");
            broken += u32::from(more > AT_MOST);
        }
    }
    Ok(broken)
}

fn count(name: &str, pace: &str, size: usize, events: usize) -> Result<i64, Box<dyn Error>> {
    count_between(2_000, 6_000, name, pace, size, events)
}

/// The instructions of a frame, or of a request, as runs of `few` and of `many` tell.
fn count_between(
    few: usize,
    many: usize,
    name: &str,
    pace: &str,
    size: usize,
    events: usize,
) -> Result<i64, Box<dyn Error>> {
    let total = |frames: usize| -> Result<i64, Box<dyn Error>> {
        let [size, events, frames] = [size, events, frames].map(|number| number.to_string());
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe()?)
            .args(["run", name, pace, &size, &events, &frames])
            .output()
            .map_err(|error| format!("valgrind cannot be run: {error}"))?;
        let log = String::from_utf8_lossy(&output.stderr);
        let collected = log.lines().find_map(|line| line.split_once("Collected : "));
        let (_, total) = collected.ok_or_else(|| format!("no count in: {log}"))?;
        Ok(total.trim().parse()?)
    };
    Ok((total(many)? - total(few)?) / i64::try_from(many - few)?)
}

fn run(name: &str, pace: &str, size: usize, events: usize, frames: usize) {
    if requests::run(name, frames) {
        return;
    }
    let runtime = runtime();
    let _context = runtime.enter();
    let pace = if pace == "live" { Pace::Live } else { Pace::Burst };
    let source = Source::framed(framing_of(name).0, size, events, pace);
    let polls = if pace == Pace::Live { frames * 2 } else { frames };
    if name == OBSERVED {
        DebuggingRecorder::new().install().expect("no other is installed");
        tracing_subscriber::fmt().with_max_level(LEVEL).with_writer(std::io::sink).init();
    }
    // The same code around each: only the body differs.
    let source = boxed(source);
    let stack = Stack::named(name);
    let (mut body, polls) = match name {
        "empty" => (boxed(PassThrough(source)), polls),
        "axum" => (boxed(axum_sse(size, false)), frames),
        "axum+keep_alive" => (boxed(axum_sse(size, true)), frames),
        _ => (boxed(stack.body(source)), polls),
    };
    for _ in 0..polls {
        black_box(poll(&mut body));
    }
}

/// The most that a value with all five adds to a request and its response, more than an empty
/// layer. The answer of a unary call may turn out to be a stream, until its end. What the compiler
/// inlines in the empty layer moves the difference by a hundred.
const MORE_A_REQUEST: [(&str, i64); 2] = [("json", 2_800), ("grpc", 6_100)];

/// The most that a whole call may cost, client included, beside the same under an empty layer, and
/// under five layers beside five empty ones.
const MOST_OF_A_CALL: f64 = 1.1;
const MOST_OF_FIVE: f64 = 1.2;

/// What another framing may cost more than events in a frame of one event, and in one of 16.
/// Nothing, but that the prefix of each message of gRPC has to be read: the last bytes of a frame
/// do not tell whether it is whole.
const MORE: [(Framing, [i64; 2]); 2] =
    [(Framing::Lines, [0, 0]), (Framing::Messages, [0, 15 * A_PREFIX])];

/// The same cost may be counted so much higher: a count is a difference, cut to whole instructions.
const ROUNDED: i64 = 1;

/// The most that it costs to read the prefix of one more message in a frame.
const A_PREFIX: i64 = 8;

/// The stack in which framings are compared.
const FRAMED: &str = "keep_alive+shutdown";

/// The stack in which being observed is measured, without and with a recorder and a subscriber.
const ALL: &str = "all five, one value";
const OBSERVED: &str = "all five, observed";
const LEVEL: tracing::Level = tracing::Level::DEBUG;

/// The most, in percent of what the layers cost.
const AT_MOST: f64 = 5.0;
