//! What unit tests share with the tests in `tests/it`: the specification, and streams to try it
//! with.
//!
//! [`interpret`] is the specification, read literally: slow, of the whole stream at once, and
//! obvious. It shares nothing with the decoder or a scanner, so that they do not share mistakes.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

#![allow(dead_code, unreachable_pub, reason = "`tests/it` includes this file, too")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What a client has seen once a stream is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpreted {
    /// The event, its data and the last event id, of each event that was dispatched.
    pub events: Vec<(String, String, String)>,
    pub last_event_id: String,
    /// In milliseconds.
    pub retry: Option<u64>,
}

/// What a client sees of `stream`.
pub fn interpret(stream: &[u8]) -> Interpreted {
    // "Streams must be decoded using the UTF-8 decode algorithm", which "strips one leading UTF-8
    // Byte Order Mark (BOM), if any".
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);

    // "Lines must be separated by either a CRLF character pair, a single LF character, or a single
    // CR character."
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let Some((complete, _unfinished_line)) = text.rsplit_once('\n') else {
        return Interpreted::default();
    };
    let lines: Vec<&str> = complete.split('\n').collect();

    let mut seen = Interpreted {
        // "If the field value consists of only ASCII digits, [..] set the event stream's
        // reconnection time to that integer." No blank line is needed for it.
        retry: values(&lines, "retry")
            .filter(|value| value.chars().all(|char| char.is_ascii_digit()))
            .filter_map(|value| value.parse().ok())
            .next_back(),
        ..Interpreted::default()
    };

    // "If the line is empty (a blank line): Dispatch the event". What comes after the last blank
    // line: "Once the end of the file is reached, any pending data must be discarded."
    let mut blocks: Vec<&[&str]> = lines.split(|line| line.is_empty()).collect();
    blocks.pop();

    for block in blocks {
        // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to
        // the field value." It is not reset afterwards, and set also if nothing is dispatched.
        if let Some(id) = values(block, "id").rfind(|value| !value.contains('\0')) {
            id.clone_into(&mut seen.last_event_id);
        }

        // "If the data buffer is an empty string, [..] return." Every data line adds an LF to it.
        let data: Vec<&str> = values(block, "data").collect();
        if data.is_empty() {
            continue;
        }

        // "If the event type buffer has a value other than the empty string, change the type of
        // the newly created event to equal the value of the event type buffer."
        let event = match values(block, "event").next_back() {
            None | Some("") => "message",
            Some(event) => event,
        };
        seen.events.push((event.to_owned(), data.join("\n"), seen.last_event_id.clone()));
    }
    seen
}

/// The values of the fields `name` in `lines`.
fn values<'a>(lines: &[&'a str], name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    lines.iter().filter_map(move |line| match line.find(':') {
        // "If value starts with a U+0020 SPACE character, remove it from value."
        Some(colon) if line[..colon] == *name => {
            let value = &line[colon + 1..];
            Some(value.strip_prefix(' ').unwrap_or(value))
        }
        // "Process the field [..] using the whole line as the field name, and the empty string as
        // the field value."
        None if *line == name => Some(""),
        _ => None,
    })
}

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

/// The values of a stream of JSON lines, as text.
///
/// <https://github.com/ndjson/ndjson-spec>: "Each JSON text MUST conform to the RFC 8259 standard
/// and MUST be written to the stream followed by the newline character \n (0x0A). The newline
/// character MAY be preceded by a carriage return \r (0x0D). The JSON texts MUST NOT contain
/// newlines or carriage returns." "The parser MAY silently ignore empty lines". jsonlines.org: "The
/// last character in the file may be a line separator".
pub fn interpret_lines(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The elements of a JSON text sequence, as text.
///
/// RFC 7464, section 2.1: `input-json-sequence = *(1*RS possible-JSON)`, `possible-JSON =
/// 1*(not-RS)`. "In prose: a series of octet strings, each containing any octet other than a record
/// separator (RS) (0x1E)". "Multiple consecutive RS octets do not denote empty sequence elements".
pub fn interpret_records(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    let elements = text.split('\u{1e}').map(str::trim);
    elements.filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

/// Streams of JSON lines, with blank ones, and with a last line that is not ended at times.
pub fn lines() -> impl Strategy<Value = Vec<u8>> {
    let value = select(vec![
        "{}",
        "[1,2]",
        "12",
        "\"a\\n\"",
        " {\"a\": \"\u{e9}\"} ",
        "",
        " ",
        "\u{feff}1",
        "\r",
        ": x",
        "data: x",
    ]);
    let lines = vec((value.clone(), select(vec!["\n", "\r\n"])), 0..12);
    let unfinished = prop_oneof![2 => Just(""), 1 => value];
    (lines, unfinished).prop_map(|(lines, unfinished)| {
        let lines = lines.into_iter().flat_map(|(value, end)| [value, end]);
        lines.chain([unfinished]).collect::<String>().into_bytes()
    })
}

/// JSON text sequences, with records over several lines, and with some that were cut short.
pub fn records() -> impl Strategy<Value = Vec<u8>> {
    let record = select(vec![
        "{}\n",
        "12\n",
        "\n12\n",
        "{\n \"a\": [\n1,\r\n 2]\n}\r\n",
        "\"[\\\" \\\\\"\n",
        "[[],\n[\"]\",\n{}]]\n\n",
        // Cut short.
        "",
        "\n",
        "12",
        "{\"a\":\n",
        "\"a\n",
        "]}\n",
    ]);
    let unfinished = prop_oneof![2 => Just(""), 1 => record.clone()];
    (vec(record, 0..12), unfinished).prop_map(|(records, unfinished)| {
        let records = records.into_iter().chain([unfinished]);
        records.flat_map(|record| ["\u{1e}", record]).collect::<String>().into_bytes()
    })
}

/// How the bytes of a call are to be read: with the flag of the message that is the last one, if
/// there is such a flag, and in base64 or not.
#[derive(Clone, Copy, Debug)]
pub struct Coding {
    pub flag_of_last: Option<u8>,
    pub base64: bool,
}

/// What there is of the body of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The messages, each with its flag.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// The one after which nothing comes.
    pub last: Option<(u8, Vec<u8>)>,
    /// The length of what holds them, without what is not whole.
    pub len: usize,
}

/// The messages of a body.
///
/// gRPC, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>: `Length-Prefixed-Message
/// → Compressed-Flag Message-Length Message`, `Compressed-Flag → 0 / 1 ; encoded as 1 byte unsigned
/// integer`, `Message-Length → {length of Message} ; encoded as 4 byte unsigned integer (big
/// endian)`.
///
/// gRPC-Web, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>: "8th (MSB) bit of the
/// 1st gRPC frame byte. 0: data, 1: trailers". "Trailers must be the last message of the response".
/// In text "the implementation may send base64-encoded "chunks" with potential padding whenever the
/// runtime needs to flush a byte buffer".
///
/// Connect, <https://connectrpc.com/docs/protocol/>: "If the least significant bit is 1, the
/// Message is compressed". "If the next least significant bit is 1, the Message is an
/// `EndStreamResponse`". "The six most significant bits are reserved".
pub fn interpret_call(body: &[u8], coding: Coding) -> Call {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    // The bytes, and after how many of them the body can be cut, and where.
    let (mut bytes, mut cuts) = (Vec::new(), vec![(0, 0)]);
    if coding.base64 {
        for (at, group) in body.chunks(4).enumerate() {
            let Ok(decoded) = BASE64_STANDARD.decode(group) else { break };
            bytes.extend(decoded);
            cuts.push((bytes.len(), 4 * (at + 1)));
        }
    } else {
        bytes.extend(body);
        cuts.extend((1..=body.len()).map(|at| (at, at)));
    }

    let (mut call, mut from) = (Call::default(), 0);
    while let Some(prefix) = bytes.get(from..from + 5).filter(|_| call.last.is_none()) {
        let is_last = coding.flag_of_last == Some(prefix[0] & !1);
        let len = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        let end = from + 5 + len;
        if prefix[0] > 1 && !is_last || end > bytes.len() {
            break;
        }
        let message = (prefix[0], bytes[from + 5..end].to_vec());
        match is_last {
            true => call.last = Some(message),
            false => call.messages.push(message),
        }
        from = end;
        // What shares a group with the end of the last message is nothing to a client.
        call.len = cuts
            .iter()
            .find(|(of, _)| *of == end || is_last && *of > end)
            .map_or(call.len, |(_, at)| *at);
    }
    call
}

/// Bodies of calls. Some end in a message, or have a prefix that cannot be, and some go on after
/// their last message.
pub fn calls(coding: Coding) -> impl Strategy<Value = Vec<u8>> {
    let text =
        select(vec![&b""[..], b"x", b"\n\n", b"\0\0\0\0\x05", b"0123456789", b":\n=", &[b'y'; 90]]);
    let message = |flags: Vec<u8>| {
        (select(flags), text.clone()).prop_map(|(flag, text)| {
            [&[flag][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
        })
    };
    let last = match coding.flag_of_last {
        Some(flag) => prop_oneof![Just(Vec::new()), message(vec![flag, flag | 1])].boxed(),
        None => Just(Vec::new()).boxed(),
    };
    let rest: Vec<&[u8]> = vec![
        b"",
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\0\0\0\x02x",
        b"\0\0\0\0\x01x",
        b"\x04\0\0\0\x01x",
        b"\x40\0\0\0\0",
        b"\x80\0\0\0",
        b"\x02\0\0\0\x05xy",
        b"\0\xff\xff\xff\xffx",
        b"\x82\xff\xff\xff\xffx",
    ];
    (vec(message(vec![0, 1]), 0..8), last, select(rest), cuts(), any::<bool>()).prop_map(
        move |(messages, last, rest, flushes, atomic)| {
            let parts = messages.into_iter().chain([last, rest.to_vec()]);
            match (coding.base64, atomic) {
                (false, _) => parts.flatten().collect(),
                // A server flushes where it likes, or after each message.
                (true, false) => in_base64(cut(&parts.flatten().collect::<Vec<u8>>(), &flushes)),
                (true, true) => in_base64(parts),
            }
        },
    )
}

fn in_base64(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    pieces.into_iter().map(|piece| BASE64_STANDARD.encode(piece)).collect::<String>().into_bytes()
}
