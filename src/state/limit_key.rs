//! By what streams are counted.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

/// By what streams are counted for a cap: a user, a session, an address; or nothing.
///
/// It is made of text, a number, or an address, and of an `Option` of them: a request without a key
/// is held by the cap in all only. Text that is empty is a key like any other.
///
/// - Of an **IPv6 address** the first 64 bits count, the network: a client is mostly given all of
///   one, and could open streams from as many addresses as it likes. Where single addresses are
///   meant, their text is a key. An IPv4 address that is written as an IPv6 one is the same key.
/// - Of **text** longer than 64 bytes a hash of 128 bits is kept, by a secret of the process, so that
///   long keys of clients cost no memory.
///
/// It may be a session's secret, so `Debug` does not show it.
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
pub struct LimitKey(Kind);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum Kind {
    #[default]
    None,
    Text(Arc<str>),
    /// Text too long to keep.
    Digest([u64; 2]),
    Number(u64),
    V4(Ipv4Addr),
    /// The network.
    V6(u64),
}

impl LimitKey {
    /// Whether it is no key at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == Kind::None
    }
}

impl From<&str> for LimitKey {
    fn from(text: &str) -> Self {
        Self(match text.len() {
            0..=LONGEST => Kind::Text(text.into()),
            _ => Kind::Digest([SECRETS.0.hash_one(text), SECRETS.1.hash_one(text)]),
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
        Self(Kind::Number(number))
    }
}

impl From<IpAddr> for LimitKey {
    /// Of an IPv6 address the network, its first 64 bits.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Kind::V4(address),
            IpAddr::V6(address) => Kind::V6(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
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
const LONGEST: usize = 64;

/// Two of 64 bits each: nobody finds two texts that fall together without knowing them.
static SECRETS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_if_what_they_were_made_of_is() {
        let (short, long) = ("x".repeat(LONGEST), "x".repeat(LONGEST + 1));
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
        assert!(matches!(LimitKey::from("x".repeat(1 << 20)).0, Kind::Digest(_)));
        assert_eq!(format!("{:?}", LimitKey::from("secret")), "LimitKey(..)");
    }
}
