//! One event to many clients: a hub, against tokio's `broadcast` and axum's `Sse` with `KeepAlive`.
//!
//! ```text
//! cargo bench --features hub --bench fanout                  # all
//! cargo bench --features hub --bench fanout -- loopback/100  # rows whose names begin so
//! ```
//!
//! What is measured is the time that the server's thread is on a processor, for an event and a
//! client. Clients over the loopback are in a process of their own, so none of their time is in it.
//! Hub and broadcast take turns; a ratio is of one turn, and the median of all is what counts: the
//! rest is the machine's noise.

mod cost;
mod in_process;
mod loopback;
mod reader;
mod source;
mod stalled;

use std::error::Error;
use std::process::ExitCode;

use cost::Turns;
use source::Source;

/// How many take turns at being measured.
const TURNS: usize = 7;

/// How events come: name, how many at once, and the most that a hub may cost, in broadcasts.
const PACES: [(&str, usize, f64); 2] = [("live", 1, 1.05), ("burst", source::BURST, 0.9)];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let [reader::NAME, address, clients] = words[..] {
        reader::run(address.parse()?, clients.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |row: &str| words.is_empty() || words.iter().any(|word| row.starts_with(word));

    println!("nanoseconds for an event and a client: medians of {TURNS} turns, and their ratios\n");
    println!("{:<24}{:>10}{:>12}{:>9}{:>16}{:>9}", "", "hub", "broadcast", "ratio", "", "at most");
    let mut failed = 0;
    for clients in [1, 100, 10_000] {
        let row = format!("process/{clients}");
        if wanted(&row) {
            print(&row, &in_turns(|source| Ok(in_process::measure(&source, clients)))?);
        }
    }
    for clients in [1, 100, 10_000] {
        let row = format!("loopback/{clients}");
        if wanted(&row) {
            match in_turns(|source| loopback::measure(&source, clients)) {
                Ok(turns) => print(&row, &turns),
                Err(error) => {
                    failed += 1;
                    println!("{row:<24} not measured: {error}");
                }
            }
        }
    }
    if wanted("stalled") {
        stalled::measure();
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both, one after the other, at each pace.
fn in_turns(
    mut measure: impl FnMut(Source) -> Result<[f64; PACES.len()], Box<dyn Error>>,
) -> Result<[Turns; PACES.len()], Box<dyn Error>> {
    let mut turns = <[Turns; PACES.len()]>::default();
    for turn in 0..TURNS {
        // Who is first finds another machine than who is second.
        let first = (turn % 2 == 1).then(|| measure(Source::broadcast())).transpose()?;
        let hub = measure(Source::hub())?;
        let other = first.map_or_else(|| measure(Source::broadcast()), Ok)?;
        for (turns, pair) in turns.iter_mut().zip(hub.into_iter().zip(other)) {
            turns.push(pair);
        }
    }
    Ok(turns)
}

fn print(row: &str, turns: &[Turns; PACES.len()]) {
    for ((pace, _, most), turns) in PACES.into_iter().zip(turns) {
        let (hub, other, [least, ratio, worst]) = turns.figures();
        let spread = format!("{least:.2} to {worst:.2}");
        let row = format!("{row}, {pace}");
        println!("{row:<24}{hub:>10.0}{other:>12.0}{ratio:>8.2}x{spread:>16}{most:>8.2}x");
    }
}
