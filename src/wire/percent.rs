//! Percent-encoding, as queries and the messages of calls have it.

#[cfg(feature = "hub")]
use std::borrow::Cow;
use std::fmt::Write;

/// Writes bytes that do not stand for themselves as `%` and two digits.
pub(crate) fn percent_encode(text: &str, stands_for_itself: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii() && stands_for_itself(byte) => encoded.push(byte.into()),
            // Writing into a string does not fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(feature = "hub")]
pub(crate) fn percent_decode(value: &str) -> Cow<'_, [u8]> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value.as_bytes());
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let digit = |at: usize| tail.get(at).and_then(|it| char::from(*it).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &tail[2..];
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}
