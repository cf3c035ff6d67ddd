//! The wire: what a stream is called and what an entry holds. `docs/wire.md` says it to readers.

use iobox_core::message::{Limits, Message, Topic};
use redis::Cmd;

use crate::Config;

/// The field with the id on the wire, `<origin>/<id>`.
const ID: &str = "id";
/// The field with the topic.
const TOPIC: &str = "topic";
/// The field with the ordering key; an entry without a key has none.
const KEY: &str = "key";
/// The field with the headers, a JSON array of `[name, value]`; an entry without headers has none.
const HEADERS: &str = "headers";
/// The field with the payload.
const PAYLOAD: &str = "payload";

/// A name that no topic has, since topics do not start with `$`.
const NO_TOPIC: &str = "$probe";

/// More than the names of the fields and the lengths take.
const OVERHEAD: usize = 256;

/// Turns messages into commands.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    prefix: String,
    trim_to: Option<u64>,
}

impl Wire {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            prefix: config.prefix.clone(),
            trim_to: config.trim_to,
        }
    }

    /// The stream of a topic. Two topics never share one, since the prefix is always the same.
    pub(crate) fn stream(&self, topic: &Topic) -> String {
        self.key(topic.as_str())
    }

    /// Says why a message can never be sent, if so.
    ///
    /// Redis ends the connection when a string is too long for it, which would take along every
    /// message that is under way.
    pub(crate) fn refusal(message: &Message) -> Option<String> {
        let (bytes, max) = (message.payload().len(), Limits::PAYLOAD_MAX);
        (bytes > max).then(|| format!("payload has {bytes} bytes; at most {max} are published"))
    }

    /// The command that adds a message to its stream.
    pub(crate) fn add(&self, message: &Message) -> Cmd {
        let mut command = Cmd::with_capacity(16, message.size() + OVERHEAD);
        command.arg("XADD").arg(self.stream(message.topic()));
        if let Some(entries) = self.trim_to {
            command.arg("MAXLEN").arg("~").arg(entries);
        }
        command
            .arg("*")
            .arg(ID)
            .arg(message.wire_id())
            .arg(TOPIC)
            .arg(message.topic().as_str());
        if let Some(key) = message.key() {
            command.arg(KEY).arg(key.as_str());
        }
        if !message.headers().is_empty() {
            command.arg(HEADERS).arg(message.headers().to_json());
        }
        command.arg(PAYLOAD).arg(message.payload().as_ref());
        command
    }

    /// A command that passes every check that an added message passes, and adds nothing: the stream
    /// that it names does not exist and is not made.
    pub(crate) fn rehearsal(&self) -> Cmd {
        let mut command = redis::cmd("XADD");
        command.arg(self.key(NO_TOPIC)).arg("NOMKSTREAM").arg("*");
        command.arg(PAYLOAD).arg("");
        command
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iobox_core::message::{Headers, MessageId, OrderingKey, Origin};
    use proptest::prelude::*;

    use super::*;

    fn wire(prefix: &str) -> Wire {
        Wire {
            prefix: prefix.to_owned(),
            trim_to: None,
        }
    }

    fn topics() -> impl Strategy<Value = Topic> {
        let token = "[!-)+-/:-=?-~&&[^.]]{1,12}";
        proptest::collection::vec(token, 1..6)
            .prop_filter_map("a legal topic", |tokens| Topic::new(tokens.join(".")).ok())
    }

    proptest! {
        #[test]
        fn two_topics_never_share_a_stream(one in topics(), other in topics()) {
            let wire = wire("iobox:");
            prop_assert_eq!(one == other, wire.stream(&one) == wire.stream(&other));
        }

        #[test]
        fn a_stream_tells_its_topic(topic in topics()) {
            let stream = wire("a:b.").stream(&topic);
            prop_assert_eq!(stream.strip_prefix("a:b."), Some(topic.as_str()));
        }
    }

    #[test]
    fn no_topic_shares_the_name_of_the_rehearsal() {
        Topic::new(NO_TOPIC).expect_err("a name that topics cannot have");
    }

    fn arguments(command: &Cmd) -> Vec<String> {
        let text = |argument| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "?".to_owned(),
        };
        command.args_iter().map(text).collect()
    }

    fn message(key: Option<&str>, headers: &[(&str, &str)]) -> Message {
        let pairs = headers.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Message::new(
            Origin::new(uuid::Uuid::from_u128(7)),
            MessageId::new("order-1").expect("an id"),
            Topic::new("orders.created").expect("a topic"),
            key.map(|key| OrderingKey::new(key).expect("a key")),
            Headers::from_pairs(pairs.collect()).expect("headers"),
            "payload".into(),
        )
    }

    #[test]
    fn an_entry_holds_what_the_page_says() {
        let id = "00000000-0000-0000-0000-000000000007/order-1";
        let bare = wire("iobox:").add(&message(None, &[]));
        assert_eq!(
            arguments(&bare).join(" "),
            format!("XADD iobox:orders.created * id {id} topic orders.created payload payload")
        );
        let full = Wire {
            prefix: "p:".to_owned(),
            trim_to: Some(1_000),
        };
        let full = full.add(&message(Some("k"), &[("b", "2"), ("a", "\"1\"")]));
        assert_eq!(
            arguments(&full).join(" "),
            format!(
                "XADD p:orders.created MAXLEN ~ 1000 * id {id} topic orders.created key k headers \
                 [[\"b\",\"2\"],[\"a\",\"\\\"1\\\"\"]] payload payload"
            )
        );
    }

    #[test]
    fn the_bound_of_payloads_is_that_of_core() {
        let sized = |bytes: usize| {
            let one = message(None, &[]);
            let (origin, id) = (one.origin(), one.id().clone());
            let topic = one.topic().clone();
            Message::new(
                origin,
                id,
                topic,
                None,
                Headers::new(),
                vec![0; bytes].into(),
            )
        };
        let max = Limits::PAYLOAD_MAX;
        let found: HashMap<usize, bool> = [0, max, max + 1]
            .map(|bytes| (bytes, Wire::refusal(&sized(bytes)).is_some()))
            .into();
        assert_eq!(
            found,
            HashMap::from([(0, false), (max, false), (max + 1, true)])
        );
    }
}
