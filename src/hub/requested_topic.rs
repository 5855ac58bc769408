//! [`RequestedTopic`]: a topic or a pattern that a client asks for.

use std::sync::Arc;

use crate::error::InvalidText;
use crate::event_log::{Topic, Topics};

/// A topic, or a pattern of topics, that a client asks for.
///
/// A rule that looks at its text alone must not take a pattern for a name: `>` is every topic.
/// Compare it with the topics that the client may follow by [`is_within`](Self::is_within).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestedTopic {
    text: Arc<str>,
    /// None of a pattern.
    name: Option<Topic>,
}

impl RequestedTopic {
    /// Checks a name or a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if it is neither.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        let name = Topics::new([text])?.names().next().cloned();
        Ok(Self { text: text.into(), name })
    }

    /// The text of the name or of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The topic, if it is not a pattern.
    #[must_use]
    pub fn name(&self) -> Option<&Topic> {
        self.name.as_ref()
    }

    /// Whether all topics that it stands for match one of the names or patterns in `allowed`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::Topics;
    /// use tower_sse::hub::RequestedTopic;
    ///
    /// let allowed = Topics::from_static(&["news", "users.7.>"]);
    /// for (requested, is_within) in
    ///     [("news", true), ("users.7.mail", true), ("users.7.*", true), ("users.*.mail", false), (">", false)]
    /// {
    ///     assert_eq!(RequestedTopic::new(requested)?.is_within(&allowed), is_within);
    /// }
    /// # Ok::<(), tower_sse::InvalidText>(())
    /// ```
    #[must_use]
    pub fn is_within(&self, allowed: &Topics) -> bool {
        let names = allowed.names().map(Topic::as_str);
        names.chain(allowed.patterns()).any(|allowed| covers(allowed, &self.text))
    }
}

impl AsRef<str> for RequestedTopic {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// Whether a name or a pattern matches each topic that another one matches.
fn covers(allowed: &str, requested: &str) -> bool {
    let (mut allowed, mut requested) = (allowed.split('.'), requested.split('.'));
    loop {
        match (allowed.next(), requested.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(allowed), Some(token)) if allowed == token => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of so many tokens of these.
    fn texts(tokens: &[&str], len: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        for at in 0..len {
            let longer = |text: &String, token: &&str| {
                if at == 0 { (*token).to_owned() } else { format!("{text}.{token}") }
            };
            texts = texts
                .iter()
                .flat_map(|text| tokens.iter().map(move |it| longer(text, it)))
                .collect();
        }
        texts
    }

    #[test]
    fn a_pattern_is_within_another_exactly_if_each_of_its_topics_is() {
        // `c` stands for each token that no pattern names.
        let topics: Vec<Topic> = (1..=4)
            .flat_map(|len| texts(&["a", "b", "c"], len))
            .map(|text| Topic::new(text).unwrap())
            .collect();
        let patterns: Vec<String> = (1..=3)
            .flat_map(|len| texts(&["a", "b", "*", ">"], len))
            .filter(|text| RequestedTopic::new(text).is_ok())
            .collect();
        assert_eq!(patterns.len(), 4 + 12 + 36);
        for requested in &patterns {
            let of_request = Topics::new([requested]).unwrap();
            for allowed in &patterns {
                let allowed = Topics::new([allowed]).unwrap();
                let mut matching = topics.iter().filter(|topic| of_request.matches(topic));
                let expected = matching.all(|topic| allowed.matches(topic));
                let is_within = RequestedTopic::new(requested).unwrap().is_within(&allowed);
                assert_eq!(is_within, expected, "{requested} within {allowed:?}");
            }
        }
    }

    #[test]
    fn a_pattern_has_no_name() {
        assert_eq!(RequestedTopic::new("a.b").unwrap().name(), Some(&Topic::from_static("a.b")));
        assert_eq!(RequestedTopic::new("a.*").unwrap().name(), None);
        assert!(RequestedTopic::new("a..b").is_err());
    }
}
