//! JSON that is written by hand: this crate needs no serializer for a few short objects.

use std::fmt::Write;

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

#[cfg(test)]
mod tests {
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
