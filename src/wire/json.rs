//! JSON that is written and read by hand: this crate needs no serializer for a few short objects.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::Notation;
use super::event::lines;
use super::json_scanner::SEPARATOR;

/// `text` as a string of [JSON](https://www.rfc-editor.org/rfc/rfc8259#section-7), in quotes.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            // More of them than have to be. Writing into a string does not fail.
            _ if char.is_control() => drop(write!(json, "\\u{:04x}", u32::from(char))),
            _ => json.push(char),
        }
    }
    json.push('"');
    json
}

/// `text` as one line of JSON. None if it is blank.
///
/// A line end becomes a space. In JSON it is between two tokens, where it means the same.
pub(crate) fn json_line(text: &str) -> Option<Bytes> {
    if text.trim_ascii().is_empty() {
        return None;
    }
    let mut line = String::with_capacity(text.len() + 1);
    for part in lines(text) {
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(part);
    }
    line.push('\n');
    Some(Bytes::from(line))
}

/// A line with its line end, as it is written in a stream of this notation.
pub(crate) fn in_notation(line: Bytes, notation: Notation) -> Bytes {
    match notation {
        Notation::Records => {
            let mut record = BytesMut::with_capacity(line.len() + 1);
            record.put_u8(SEPARATOR);
            // One within would begin another record.
            record.extend(line.iter().map(|&byte| if byte == SEPARATOR { b' ' } else { byte }));
            record.freeze()
        }
        Notation::Events(_) | Notation::Lines | Notation::Status(_) => line,
    }
}

/// The value of a member of an object, as it is written there. None if `json` is no object, or has
/// no such member, or is not whole as far as the member.
///
/// It looks no closer at values than it has to, and depth costs nothing.
pub(crate) fn json_member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = json.trim_ascii_start().strip_prefix('{')?;
    loop {
        let (key, after) = split_value(rest)?;
        let (value, after) = split_value(after.trim_ascii_start().strip_prefix(':')?)?;
        // Names of APIs need no escapes.
        if key.strip_prefix('"').and_then(|key| key.strip_suffix('"')) == Some(name) {
            return Some(value);
        }
        rest = after.trim_ascii_start().strip_prefix(',')?;
    }
}

/// Splits a value off the beginning of a text.
fn split_value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', byte == b'\\' && !escaped);
            if !quoted && depth == 0 {
                return Some(text.split_at(at + 1));
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' if depth == 1 => return Some(text.split_at(at + 1)),
            b'}' | b']' | b',' | b':' if depth == 0 => {
                let (value, rest) = text.split_at(at);
                let value = value.trim_ascii_end();
                return (!value.is_empty()).then_some((value, rest));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_member_is_found_whatever_is_around_it_and_only_if_it_is_whole() {
        #[rustfmt::skip]
        let table = [
            (r#"{"a":1}"#, Some("1")),
            (" { \"a\" : null , \"b\" : 2 } ", Some("null")),
            (r#"{"b":{"a":1},"a":"x"}"#, Some(r#""x""#)),
            (r#"{"b":"\"a\":1,","a":[{"a":2}]}"#, Some(r#"[{"a":2}]"#)),
            (r#"{"b\\":"\\","a":{"}":"{\""}} and more"#, Some(r#"{"}":"{\""}"#)),
            ("{\"\u{e9}\":\"\u{e9}\",\n\"a\":\ttrue\n}", Some("true")),
            (r#"{"a":{"b":1}"#, Some(r#"{"b":1}"#)),
            (r#"{"b":1}"#, None),
            (r#"{"b":{"a":1}}"#, None),
            (r#"["a",1]"#, None),
            (r#"{"a":{"b":1"#, None),
            (r#"{"a":"x"#, None),
            (r#"{"a":"x\""#, None),
            (r#"{"a":1"#, None),
            (r#"{"a":}"#, None),
            (r#"{"a"}"#, None),
            (r#"{"b":1 "a":2}"#, None),
            ("{", None),
            ("", None),
            ("\"a\"", None),
        ];
        for (json, value) in table {
            assert_eq!(super::json_member(json, "a"), value, "{json}");
        }
        let deep = format!(r#"{{"b":{}{},"a":1}}"#, "[".repeat(1 << 16), "]".repeat(1 << 16));
        assert_eq!(super::json_member(&deep, "a"), Some("1"));
    }

    #[test]
    fn text_is_escaped_where_it_has_to_be() {
        for (text, json) in [
            ("a b", r#""a b""#),
            ("\"\\", r#""\"\\""#),
            ("\r\n\0\u{7f}", r#""\u000d\u000a\u0000\u007f""#),
            ("\u{e9}\u{2028}", "\"\u{e9}\u{2028}\""),
        ] {
            assert_eq!(super::json_string(text), json);
        }
    }
}
