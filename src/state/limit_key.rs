//! [`LimitKey`]: what the streams of one user, session or address have in common.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

/// The key by which a limit counts a stream: a user, a session, an address, or none.
///
/// It is made of text, a number or an address, or of an `Option` of these. A request without a key
/// counts against the limit in all only. Empty text is a key like any other.
///
/// - Of an **IPv6 address** only the first 64 bits count, the network: most clients have all of a
///   network, and could open streams from as many addresses as they like. Where single addresses
///   are meant, use their text. An IPv4 address in the form of an IPv6 address is the same key.
/// - Of **text** longer than 64 bytes a hash of 128 bits is kept, with a secret of the process, so
///   that long keys of clients cost no memory.
///
/// It may be the secret of a session, so `Debug` does not show it.
///
/// # Examples
///
/// ```
/// use std::net::IpAddr;
/// use tower_sse::LimitKey;
///
/// let address = |text: &str| text.parse::<IpAddr>().map(LimitKey::from);
/// assert_eq!(address("2001:db8::1")?, address("2001:db8::2")?);
/// assert_ne!(address("192.0.2.1")?, address("192.0.2.2")?);
/// assert_eq!(LimitKey::from(None::<String>), LimitKey::default());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct LimitKey(KeyValue);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum KeyValue {
    #[default]
    None,
    Text(Arc<str>),
    /// Text too long to keep.
    Digest([u64; 2]),
    Number(u64),
    V4(Ipv4Addr),
    /// The network.
    V6(u64),
    /// The function that makes keys panicked.
    Failed,
}

impl LimitKey {
    /// The key of all requests for which the function that makes keys panics.
    pub(crate) const FAILED: Self = Self(KeyValue::Failed);

    /// Whether there is no key.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == KeyValue::None
    }
}

impl From<&str> for LimitKey {
    fn from(text: &str) -> Self {
        Self(match text.len() {
            0..=MAX_KEY_LEN => KeyValue::Text(text.into()),
            _ => KeyValue::Digest([SECRETS.0.hash_one(text), SECRETS.1.hash_one(text)]),
        })
    }
}

impl From<String> for LimitKey {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<u64> for LimitKey {
    fn from(number: u64) -> Self {
        Self(KeyValue::Number(number))
    }
}

impl From<IpAddr> for LimitKey {
    /// The network, if it is an IPv6 address.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => KeyValue::V4(address),
            IpAddr::V6(address) => {
                KeyValue::V6(u64::try_from(address.to_bits() >> 64).unwrap_or(0))
            }
        })
    }
}

impl<K: Into<Self>> From<Option<K>> for LimitKey {
    /// No key for `None`.
    fn from(key: Option<K>) -> Self {
        key.map(Into::into).unwrap_or_default()
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "LimitKey(none)" } else { "LimitKey(..)" })
    }
}

/// Session ids, UUIDs and most names are shorter.
const MAX_KEY_LEN: usize = 64;

/// Two of 64 bits each. Without them nobody finds two texts with one hash.
static SECRETS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_if_what_they_were_made_of_is() {
        let (short, long) = ("x".repeat(MAX_KEY_LEN), "x".repeat(MAX_KEY_LEN + 1));
        for text in ["", "user 7", "\0\n", "é", &short, &long] {
            assert_eq!(LimitKey::from(text), LimitKey::from(text.to_owned()));
            assert_eq!(LimitKey::from(text), LimitKey::from(Some(text)));
            assert_ne!(LimitKey::from(text), LimitKey::from(format!("{text}x")));
            assert!(!LimitKey::from(text).is_none());
        }
        assert_ne!(LimitKey::from(7), LimitKey::from("7"));
        assert!(LimitKey::from(None::<u64>).is_none());
    }

    #[test]
    fn an_address_is_its_network() {
        let key = |text: &str| LimitKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::7"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_key_takes_bounded_memory_and_is_not_shown() {
        assert!(size_of::<LimitKey>() <= 24);
        assert!(matches!(LimitKey::from("x".repeat(1 << 20)).0, KeyValue::Digest(_)));
        assert_eq!(format!("{:?}", LimitKey::from("secret")), "LimitKey(..)");
    }
}
