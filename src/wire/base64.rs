//! Base64, as in [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-4).

/// The bits that a character stands for. None if it is not of the alphabet.
pub(super) fn value(char: u8) -> Option<u8> {
    match char {
        b'A'..=b'Z' => Some(char - b'A'),
        b'a'..=b'z' => Some(char - b'a' + 26),
        b'0'..=b'9' => Some(char - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Encodes with padding.
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().unwrap_or_default();
        let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
        for at in 0..4 {
            let char = ALPHABET[(bits >> (18 - 6 * at)) as usize & 0x3f];
            text.push(if at > group.len() { b'=' } else { char });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-10).
    #[test]
    fn text_is_encoded_as_the_vectors_of_the_rfc_say() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn a_character_has_the_value_of_its_place_in_the_alphabet() {
        for char in 0..=u8::MAX {
            let place = ALPHABET.iter().position(|&known| known == char);
            assert_eq!(value(char).map(usize::from), place, "{char}");
        }
    }
}
