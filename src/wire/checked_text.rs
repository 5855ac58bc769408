//! Declares types of text that is checked when it is made.

use std::ops::Deref;

/// A literal, or text that was made at run time.
#[derive(Clone, Debug)]
pub(crate) enum Text<T> {
    Static(&'static str),
    Owned(T),
}

impl<T: Deref<Target = str>> Text<T> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// Declares a type of text with a rule, which is a `const fn(&str) -> Result<(), InvalidText>`.
///
/// The type compares, orders and hashes as its text does. It has no constructor but `from_static`:
/// each type has a `new` of its own, whose documentation says what the rule is.
macro_rules! checked_text {
    (
        $(#[$docs:meta])*
        pub struct $Name:ident(Text<$Owned:ty>), rule: $rule:path
    ) => {
        $(#[$docs])*
        #[derive(Clone)]
        pub struct $Name($crate::wire::Text<$Owned>);

        impl $Name {
            /// Makes a value of a literal.
            ///
            /// In a `const` a literal that breaks the rule fails the build.
            ///
            /// # Panics
            ///
            /// At run time, if the literal breaks the rule. For text that is not a literal use
            /// [`new`](Self::new), which returns an error instead.
            #[must_use]
            pub const fn from_static(text: &'static str) -> Self {
                match $rule(text) {
                    Ok(()) => Self($crate::wire::Text::Static(text)),
                    Err(invalid) => panic!("{}", invalid.problem()),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::borrow::Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($Name)).field(&self.as_str()).finish()
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self.as_str(), f)
            }
        }

        impl PartialEq for $Name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $Name {}

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl std::hash::Hash for $Name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl From<&$Name> for $Name {
            fn from(text: &$Name) -> Self {
                text.clone()
            }
        }
    };
}

/// Lets types that [`checked_text`] declares be made of text by the traits of the standard library.
macro_rules! checked_conversions {
    ($($Name:ident),+) => { $(
        impl TryFrom<&str> for $Name {
            type Error = $crate::error::InvalidText;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $Name {
            type Error = $crate::error::InvalidText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::error::InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
    )+ };
}

pub(crate) use {checked_conversions, checked_text};

/// Whether the character that begins at byte `at` is a control character, as [`char::is_control`]
/// says, which is no `const fn`.
pub(crate) const fn is_control(text: &[u8], at: usize) -> bool {
    match text[at] {
        ..b' ' | 0x7f => true,
        // U+0080 to U+009F.
        0xc2 => text[at + 1] < 0xa0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_those_of_the_standard_library() {
        for char in '\0'..='\u{ffff}' {
            let mut buffer = [0; 4];
            let bytes = char.encode_utf8(&mut buffer).as_bytes();
            let found = (0..bytes.len()).any(|at| is_control(bytes, at));
            assert_eq!(found, char.is_control(), "{char:?}");
        }
    }
}
