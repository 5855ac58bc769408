//! Figures that the documentation says.

use std::fs;
use std::path::Path;

/// A file of the repository in one line, without what makes lines comments: sentences are wrapped.
pub fn in_one_line(path: &str) -> String {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.filter(|it| it.join("src/manual").is_dir()).next().expect("the repository");
    let text = fs::read_to_string(root.join(path)).expect(path);
    let words = text.lines().flat_map(|line| {
        let line = line.trim_start();
        let comment = ["///", "//!", "//"].iter().find_map(|mark| line.strip_prefix(mark));
        comment.unwrap_or(line).split_whitespace()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The number that a file says between these words, where it says them.
pub fn figure(path: &str, before: &str, after: &str) -> f64 {
    let text = in_one_line(path);
    let numbers = text.split(before).skip(1).filter_map(|rest| {
        let digits =
            rest.split(|it: char| !it.is_ascii_digit() && it != '.' && it != ',').next()?;
        rest[digits.len()..].starts_with(after).then(|| digits.replace(',', "").parse().ok())?
    });
    let numbers: Vec<f64> = numbers.collect();
    match numbers[..] {
        [number] => number,
        _ => panic!("{path} has to say once `{before}`, a number, `{after}`: {numbers:?}"),
    }
}
