//! The topic pattern: which topics a handler wants.

use std::{fmt, sync::Arc};

use crate::{Error, Result, message::Topic};

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 255;

/// A pattern of topics, as NATS has them: `orders.created` is one topic, `*` stands for one token,
/// and `>` as the last token for one or more.
///
/// `orders.*` matches `orders.created` and not `orders` or `orders.eu.created`; `orders.>` matches
/// both of the longer ones and not `orders`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// Checks `text` and makes a pattern of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when no topic could match it, or when it has a `*` or
    /// `>` that is not a token of its own, or a `>` before the end.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > PATTERN_MAX {
            return Err(Error::invalid(format!(
                "topic pattern has {} bytes; at most {PATTERN_MAX} are allowed",
                text.len()
            )));
        }
        let count = text.split('.').count();
        let mut plain = Vec::with_capacity(count);
        for (at, token) in text.split('.').enumerate() {
            if token == ">" && at + 1 < count {
                return Err(Error::invalid(format!(
                    "topic pattern has > as token {}; it may only be the last",
                    at + 1
                )));
            }
            plain.push(if matches!(token, "*" | ">") {
                "x"
            } else {
                token
            });
        }
        // What is left must be a topic, so that every pattern can match one.
        Topic::new(plain.join(".")).map_err(|source| {
            Error::invalid("topic pattern is not a topic with the tokens * and >")
                .with_source(source)
        })?;
        Ok(Self(Arc::from(text)))
    }

    /// Whether `topic` is one of those that the pattern stands for.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut tokens = topic.as_str().split('.');
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPattern({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_nats() {
        let matches = |pattern: &str, topic: &str| {
            let pattern = TopicPattern::new(pattern).unwrap();
            pattern.matches(&Topic::new(topic).unwrap())
        };
        for (pattern, topic, wanted) in [
            ("orders.created", "orders.created", true),
            ("orders.created", "orders.created.eu", false),
            ("orders.created", "orders", false),
            ("orders.*", "orders.created", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.created.eu", false),
            ("orders.*.eu", "orders.created.eu", true),
            ("*.created", "orders.created", true),
            ("orders.>", "orders.created", true),
            ("orders.>", "orders.created.eu", true),
            ("orders.>", "orders", false),
            ("orders.>", "ordersx.created", false),
            (">", "orders.created", true),
            ("*", "orders", true),
            ("*", "orders.created", false),
        ] {
            assert_eq!(matches(pattern, topic), wanted, "{pattern} {topic}");
        }
    }

    #[test]
    fn patterns_that_nothing_can_match_are_refused() {
        for bad in [
            "", ".", "a..b", "a.", ".a", "a.>.b", ">.a", "a*", "a.b>", "a b", "a.**", "$x.*", "é",
        ] {
            assert!(TopicPattern::new(bad).is_err(), "{bad:?}");
        }
        assert!(TopicPattern::new("a".repeat(256)).is_err());
    }
}
