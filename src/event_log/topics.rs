//! [`Topics`]: the set of topics that a follower follows, by name and by pattern.

use std::fmt;
use std::sync::Arc;

use super::Topic;
use super::topic::{Wildcards, check};
use crate::error::InvalidText;

/// The topics that a follower follows: one, several, or all that match a pattern.
///
/// As in NATS, `*` in a pattern stands for one token, and `>` as the last token for one or more:
/// `orders.*` matches `orders.42` but not `orders.42.lines`, and `orders.>` matches both. A
/// follower gets an event once, also if its topic matches twice.
///
/// # Examples
///
/// ```
/// use tower_sse::event_log::{Topic, Topics};
///
/// let topics = Topics::from_static(&["news", "orders.*"]);
/// assert!(topics.matches(&Topic::new("news")?));
/// assert!(topics.matches(&Topic::new("orders.42")?));
/// assert!(!topics.matches(&Topic::new("orders.42.lines")?));
///
/// let one = Topics::from(Topic::new("news")?);
/// assert!(!one.matches(&Topic::new("orders.42")?));
/// # Ok::<(), tower_sse::InvalidText>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topics {
    /// Without wildcards.
    names: Arc<[Topic]>,
    patterns: Arc<[Box<str>]>,
}

impl Topics {
    /// Makes a set of names and patterns. An empty set is valid, and matches no topic.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if one of them is neither a name nor a pattern, or if there are more than
    /// 256: the cost of an event grows with their number.
    pub fn new<T: AsRef<str>>(topics: impl IntoIterator<Item = T>) -> Result<Self, InvalidText> {
        let (mut names, mut patterns) = (Vec::<Topic>::new(), Vec::<Box<str>>::new());
        for text in topics {
            let text = text.as_ref();
            let wild = check(text, Wildcards::Allowed)?;
            if names.len() + patterns.len() == MAX_TOPICS {
                return Err(InvalidText::new("topics", "topics are more than 256", None));
            }
            match wild {
                true if patterns.iter().any(|known| **known == *text) => {}
                true => patterns.push(text.into()),
                false if names.iter().any(|known| known.as_str() == text) => {}
                false => names.push(Topic::new(text)?),
            }
        }
        Ok(Self { names: names.into(), patterns: patterns.into() })
    }

    /// Makes a set of literals.
    ///
    /// # Panics
    ///
    /// If one of the literals is neither a name nor a pattern, or if there are more than 256. For
    /// text that is not a literal use [`new`](Self::new), which returns an error instead.
    #[must_use]
    pub fn from_static(topics: &[&'static str]) -> Self {
        match Self::new(topics) {
            Ok(topics) => topics,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// Whether `topic` is in the set.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.names.contains(topic) || self.matches_pattern(topic)
    }

    /// The names in the set.
    pub fn names(&self) -> impl Iterator<Item = &Topic> {
        self.names.iter()
    }

    /// The patterns in the set, each of which has a wildcard.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &**pattern)
    }

    /// The only topic, if the set is one name and no pattern.
    pub(crate) fn single(&self) -> Option<&Topic> {
        match (&*self.names, &*self.patterns) {
            ([topic], []) => Some(topic),
            _ => None,
        }
    }

    /// The patterns as regular expressions, in which `escape` makes a character stand for itself.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn expressions(&self, escape: char) -> impl Iterator<Item = String> {
        self.patterns().map(move |pattern| expression(pattern, escape))
    }

    /// The patterns in the set, for owners that share them.
    pub(super) fn shared_patterns(&self) -> &Arc<[Box<str>]> {
        &self.patterns
    }

    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    pub(crate) fn matches_pattern(&self, topic: &Topic) -> bool {
        self.patterns().any(|pattern| matches(pattern, topic.as_str()))
    }
}

impl From<Topic> for Topics {
    fn from(topic: Topic) -> Self {
        Self { names: [topic].into(), patterns: [].into() }
    }
}

impl From<&Topic> for Topics {
    fn from(topic: &Topic) -> Self {
        topic.clone().into()
    }
}

impl TryFrom<&str> for Topics {
    type Error = InvalidText;

    fn try_from(topic: &str) -> Result<Self, Self::Error> {
        Self::new([topic])
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names().map(Topic::as_str);
        f.debug_set().entries(names.chain(self.patterns())).finish()
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
fn expression(pattern: &str, escape: char) -> String {
    let mut expression = String::from("^");
    for (at, token) in pattern.split('.').enumerate() {
        if at > 0 {
            expression.extend([escape, '.']);
        }
        match token {
            ">" => expression.push_str(".+"),
            "*" => expression.push_str("[^.]+"),
            token => {
                for char in token.chars() {
                    expression.extend(char.is_ascii_punctuation().then_some(escape));
                    expression.push(char);
                }
            }
        }
    }
    expression.push('$');
    expression
}

fn matches(pattern: &str, topic: &str) -> bool {
    let mut tokens = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// A follower looks at each name and pattern, and the list may come from a request.
const MAX_TOPICS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "postgres", feature = "redis"))]
    #[test]
    fn a_pattern_is_an_expression_in_which_all_else_stands_for_itself() {
        let topics = Topics::from_static(&["orders.*", "a-b.c_d.>", "*", "name"]);
        let expressions = |escape| topics.expressions(escape).collect::<Vec<_>>();
        assert_eq!(expressions('%'), [r"^orders%.[^.]+$", r"^a%-b%.c%_d%..+$", "^[^.]+$"]);
        assert_eq!(expressions('\\')[0], r"^orders\.[^.]+$");
    }

    #[test]
    #[should_panic = "topic has an empty token at byte 7"]
    fn a_literal_that_is_no_pattern_panics_with_the_rule_and_the_place() {
        let _ = Topics::from_static(&["news", "orders..*"]);
    }

    #[test]
    fn a_star_is_one_token_and_an_angle_is_one_or_more() {
        #[rustfmt::skip]
        let table: &[(&str, &str, bool)] = &[
            ("a.*",   "a.b",     true),
            ("a.*",   "a",       false),
            ("a.*",   "a.b.c",   false),
            ("*.b",   "a.b",     true),
            ("*.b",   "a.c",     false),
            ("a.*.c", "a.b.c",   true),
            ("a.>",   "a.b",     true),
            ("a.>",   "a.b.c",   true),
            ("a.>",   "a",       false),
            ("a.>",   "ab.c",    false),
            (">",     "a",       true),
            ("*",     "a",       true),
            ("*",     "a.b",     false),
            ("*.*.>", "a.b",     false),
            ("*.*.>", "a.b.c.d", true),
        ];

        for &(pattern, topic, expected) in table {
            let topics = Topics::new([pattern]).unwrap();
            assert_eq!(topics.matches(&Topic::new(topic).unwrap()), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_set_has_at_most_256_topics_and_none_twice() {
        let many = |count: usize| Topics::new((0..count).map(|n| format!("t.{n}")));
        assert_eq!(many(256).unwrap().names().count(), 256);
        assert!(many(257).is_err());
        assert_eq!(
            Topics::new(["a", "a", "b.*", "b.*"]).unwrap(),
            Topics::new(["a", "b.*"]).unwrap()
        );
    }
}
