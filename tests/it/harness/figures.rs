//! Figures that the documentation says.

use std::fs;
use std::path::Path;

/// A file of the repository in one line, without what makes lines comments: sentences are wrapped.
pub fn in_one_line(path: &str) -> String {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|it| it.join("src/manual").is_dir()).expect("the repository");
    let text = fs::read_to_string(root.join(path)).expect(path);
    let words = text.lines().flat_map(|line| {
        let line = line.trim_start();
        let comment = ["///", "//!", "//"].iter().find_map(|mark| line.strip_prefix(mark));
        comment.unwrap_or(line).split_whitespace()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The number that a file says between these words, wherever it says them.
pub fn figure(path: &str, before: &str, after: &str) -> f64 {
    let text = in_one_line(path);
    let numbers = text.split(before).skip(1).filter_map(|rest| {
        let digits =
            rest.split(|it: char| !it.is_ascii_digit() && it != '.' && it != ',').next()?;
        let digits = digits.trim_end_matches(['.', ',']);
        rest[digits.len()..].starts_with(after).then(|| digits.replace(',', "").parse().ok())?
    });
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.dedup();
    match numbers[..] {
        [number] => number,
        _ => panic!("{path} has to say `{before}`, a number, `{after}`: {numbers:?}"),
    }
}
