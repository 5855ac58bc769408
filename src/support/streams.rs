//! Streams and cuts to try with.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Streams that are mostly valid, with line ends mixed and a line left unfinished at times.
///
/// Few fields and short values: then the same streams hold what differs, such as an id that is
/// set, kept and reset.
pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    let bom = prop_oneof![7 => Just(""), 1 => Just("\u{feff}")];
    let lines = vec((line(), select(vec!["\n", "\r\n", "\r"])), 0..16);
    let unfinished = prop_oneof![3 => Just(Vec::new()), 1 => line()];
    (bom, lines, unfinished).prop_map(|(bom, lines, unfinished)| {
        let mut stream = bom.as_bytes().to_vec();
        for (line, end) in lines {
            stream.extend(line);
            stream.extend(end.as_bytes());
        }
        stream.extend(unfinished);
        stream
    })
}

/// Where to cut, for [`cut`].
pub fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..8)
}

/// The chunks of `stream`, of which some may be empty.
pub fn cut(stream: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(stream.len());
    let mut start = 0;
    ends.into_iter().map(|end| stream[std::mem::replace(&mut start, end)..end].to_vec()).collect()
}

/// One line, without its end.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let odd: &[&[u8]] = &[
        b"id: a\0",
        b"retry: +7",
        b"retry: 1.5",
        b"retry:",
        b"retry: 99999999999999999999",
        b"data: \xff\xf0\x9f",
        b"\xef\xbb",
        b"\xef\xbb\xbfdata: x",
        b" data: x",
        b"Data: x",
        b"data : x",
    ];
    prop_oneof![
        6 => Just(Vec::new()),
        10 => field(&["event", "data", "data", "data", "id", "retry", ""]),
        1 => field(&["other", "datas", "dat"]),
        1 => select(odd).prop_map(<[u8]>::to_vec),
        1 => vec(select(b"data: \0\xef\xbb\xbf".as_slice()), 0..6),
    ]
}

/// A field of one of these names, or of all their values one.
fn field(names: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let colon = select(vec![":", ": ", ": ", ":  ", ""]);
    let value = select(vec!["", "1", "20", "message", "a: b", "\u{e9}\u{1f600}"]);
    (select(names), colon, value).prop_map(|(name, colon, value)| match colon {
        "" => name.into(),
        _ => [name, colon, value].concat().into_bytes(),
    })
}
