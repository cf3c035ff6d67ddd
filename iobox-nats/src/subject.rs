//! Subjects: a topic behind a prefix, and which subjects a stream takes.

use std::fmt;

use iobox_core::{Error, Result, message::Topic};

/// The longest prefix, in bytes.
const PREFIX_MAX: usize = 64;

/// What stands before every topic on the wire; two topics never share a subject.
///
/// Empty, so that subjects are topics, or 1 to 64 bytes by the rules of a [`Topic`].
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The default prefix.
    pub const DEFAULT: &'static str = "iobox";

    /// Checks `text` and makes a prefix of it.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.len() > PREFIX_MAX {
            return Err(Error::invalid(format!(
                "prefix has {} bytes; at most {PREFIX_MAX} are allowed",
                text.len()
            )));
        }
        if !text.is_empty() {
            Topic::new(&text).map_err(|error| {
                Error::invalid("prefix breaks a rule of topics, which it must keep")
                    .with_source(error)
            })?;
        }
        Ok(Self(text))
    }

    /// The subject of a topic.
    #[must_use]
    pub fn subject_of(&self, topic: &Topic) -> String {
        self.with(topic.as_str())
    }

    /// The topic of a subject, or none if the subject is not behind this prefix.
    #[must_use]
    pub fn topic_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        if self.0.is_empty() {
            return Some(subject);
        }
        subject.strip_prefix(&self.0)?.strip_prefix('.')
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn with(&self, rest: &str) -> String {
        if self.0.is_empty() {
            rest.to_owned()
        } else {
            format!("{}.{rest}", self.0)
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({:?})", self.0)
    }
}

/// A pattern of topics, with `*` for one token and `>` for one or more at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Checks `text` and makes a pattern of it.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let tokens: Vec<&str> = text.split('.').collect();
        let last = tokens.len().saturating_sub(1);
        for (at, token) in tokens.iter().enumerate() {
            if *token == "*" || (*token == ">" && at == last) {
                continue;
            }
            if token.contains(['*', '>']) {
                return Err(Error::invalid(
                    "a pattern of topics has * or > inside of a token; * stands for a whole token, \
                     > for all that follow and only at the end",
                ));
            }
        }
        // With its wildcards replaced it must be a topic.
        let plain = text.replace(['*', '>'], "x");
        Topic::new(plain).map_err(|error| {
            Error::invalid("a pattern of topics breaks a rule of topics").with_source(error)
        })?;
        Ok(Self(text.to_owned()))
    }

    /// Every topic.
    pub(crate) fn all() -> Self {
        Self(String::from(">"))
    }

    /// The pattern of the subjects of these topics.
    pub(crate) fn behind(&self, prefix: &Prefix) -> String {
        prefix.with(&self.0)
    }
}

/// Whether every subject that `narrow` stands for is one that `wide` stands for.
///
/// Both are subjects or patterns of subjects.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Whether there is a subject that both stand for. Both are subjects or patterns of subjects.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_subject_is_the_topic_behind_the_prefix() {
        let topic = Topic::new("orders.created").expect("a topic");
        let prefix = Prefix::new("shop.eu").expect("a prefix");
        assert_eq!(prefix.subject_of(&topic), "shop.eu.orders.created");
        assert_eq!(prefix.topic_of("shop.eu.orders"), Some("orders"));
        assert_eq!(prefix.topic_of("shop.europe.orders"), None);
        let none = Prefix::new("").expect("a prefix");
        assert_eq!(none.subject_of(&topic), "orders.created");
    }

    #[test]
    fn a_prefix_keeps_the_rules_of_topics() {
        let long = "x".repeat(PREFIX_MAX + 1);
        for bad in [".", "a.", "a b", "a.*", ">", "$JS", "_INBOX.a", "é", &long] {
            assert!(Prefix::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_has_wildcards_as_whole_tokens() {
        for good in [">", "*", "a.*.b", "a.>", "*.>"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a*", ">.a", "a.>b", "a..b", "$JS.>", "a b"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_stands_for() {
        for (wide, narrow, expected) in [
            (">", "a", true),
            (">", "a.>", true),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a.*", true),
            ("a.>", "a.>", true),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.*", "a.>", false),
            ("a.*", "a.b.c", false),
            ("a.b", "a.*", false),
            ("*.b", "a.b", true),
            ("*.b", "a.c", false),
            ("a", "a", true),
            ("a", "a.b", false),
            ("a.b", "a", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn patterns_overlap_when_a_subject_is_of_both() {
        for (one, other, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a.>", "a", false),
            ("a.>", "*.b", true),
            ("a.*", "*.b", true),
            ("a.*.c", "a.b.>", true),
            ("a.*", "a.b.c", false),
            (">", "a", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    fn topics() -> impl Strategy<Value = String> {
        let token = "[!-)+-\\-/-=?-~]{1,12}";
        let whole = prop::collection::vec(token, 1..6).prop_map(|tokens| tokens.join("."));
        whole.prop_filter("a topic", |text| Topic::new(text).is_ok())
    }

    proptest! {
        #[test]
        fn a_subject_leads_back_to_its_topic(prefix in prop_oneof![Just(String::new()), topics()], topic in topics()) {
            prop_assume!(prefix.len() <= PREFIX_MAX);
            let prefix = Prefix::new(prefix).expect("a prefix");
            let subject = prefix.subject_of(&Topic::new(&topic).expect("a topic"));
            prop_assert_eq!(prefix.topic_of(&subject), Some(topic.as_str()));
            prop_assert!(covers(&Pattern::all().behind(&prefix), &subject));
        }

        #[test]
        fn two_topics_never_share_a_subject(prefix in topics(), one in topics(), other in topics()) {
            prop_assume!(prefix.len() <= PREFIX_MAX && one != other);
            let prefix = Prefix::new(prefix).expect("a prefix");
            let subject = |text: &str| prefix.subject_of(&Topic::new(text).expect("a topic"));
            prop_assert_ne!(subject(&one), subject(&other));
        }
    }
}
