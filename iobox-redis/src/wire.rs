//! The wire: what a stream is called and what an entry holds. `docs/wire.md` says it to readers.

use iobox_core::{
    Error, Result,
    message::{Headers, Limits, Message, MessageId, OrderingKey, Origin, Topic},
};
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
pub(crate) const PAYLOAD: &str = "payload";

/// A name that no topic has, since topics do not start with `$`.
const NO_TOPIC: &str = "$probe";

/// More than the names of the fields and the lengths take.
const OVERHEAD: usize = 256;

/// A field of an entry: its name and its value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// The value of the field `name`.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid) when it is given twice.
pub(crate) fn value<'a>(fields: &'a [Field], name: &str) -> Result<Option<&'a [u8]>> {
    let mut found = fields.iter().filter(|(other, _)| other == name.as_bytes());
    let first = found.next().map(|(_, value)| value.as_slice());
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Error::invalid(format!("field {name} is given twice"))),
    }
}

/// The text of the field `name`.
///
/// # Errors
/// As for [`value`], and when it is no UTF-8.
pub(crate) fn text<'a>(fields: &'a [Field], name: &str) -> Result<Option<&'a str>> {
    let text = |bytes| {
        str::from_utf8(bytes).map_err(|_| Error::invalid(format!("field {name} is not UTF-8")))
    };
    value(fields, name)?.map(text).transpose()
}

/// Reads an entry that a publisher wrote: one with an id on the wire, a topic and a payload. `None`
/// for that of another program. Fields that are not known are left out.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid) when a field breaks its bound, never with its value.
pub(crate) fn read(fields: &[Field]) -> Result<Option<Message>> {
    let has = |name: &str| fields.iter().any(|(other, _)| other == name.as_bytes());
    if !has(TOPIC) || !has(PAYLOAD) {
        return Ok(None);
    }
    let id = fields.iter().find(|(name, _)| name == ID.as_bytes());
    let Some((origin, id)) = id.and_then(|(_, id)| origin_and_id(id)) else {
        return Ok(None);
    };
    // Of the fields that must be there once, none may be there twice.
    value(fields, ID)?;
    let topic = Topic::new(text(fields, TOPIC)?.unwrap_or_default())?;
    let key = text(fields, KEY)?.map(OrderingKey::new).transpose()?;
    let headers = match text(fields, HEADERS)? {
        Some(json) => Headers::from_json(json).map_err(|_| {
            Error::invalid("field headers is no JSON array of names and values, or breaks a bound")
        })?,
        None => Headers::new(),
    };
    let payload = value(fields, PAYLOAD)?.unwrap_or_default().to_vec();
    let id = MessageId::new(id)?;
    Ok(Some(Message::new(
        origin,
        id,
        topic,
        key,
        headers,
        payload.into(),
    )))
}

/// Takes `<origin>/<id>` apart.
fn origin_and_id(wire: &[u8]) -> Option<(Origin, &str)> {
    let (origin, id) = str::from_utf8(wire).ok()?.split_once('/')?;
    let origin = Origin::new(origin.parse().ok()?);
    // Only the form that a publisher writes: other programs may write UUIDs in others.
    wire.starts_with(origin.to_string().as_bytes())
        .then_some((origin, id))
}

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
    use iobox_testkit::hostile;
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

    /// The fields of the entry that a command adds.
    fn fields(command: &Cmd) -> Vec<Field> {
        let arguments: Vec<Vec<u8>> = command
            .args_iter()
            .skip(3)
            .map(|argument| match argument {
                redis::Arg::Simple(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            })
            .collect();
        let (pairs, []) = arguments.as_chunks::<2>() else {
            panic!("a field without a value");
        };
        let pairs = pairs.iter();
        pairs
            .map(|[name, value]| (name.clone(), value.clone()))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let full = message(Some("k/ü"), &[("b", "2"), ("A", "\"1\"")]);
        for written in [full, message(None, &[])] {
            let entry = fields(&wire("iobox:").add(&written));
            let read = read(&entry).expect("whole").expect("one of ours");
            assert_eq!(read.wire_id(), written.wire_id());
            assert_eq!(read.topic(), written.topic());
            assert_eq!(read.key(), written.key());
            assert_eq!(read.headers(), written.headers());
            assert_eq!(read.payload(), written.payload());
        }
    }

    #[test]
    fn a_broken_entry_of_ours_is_refused_without_its_content() {
        let whole = fields(&wire("iobox:").add(&message(Some("k"), &[("a", "1")])));
        for (name, value, says) in [
            ("headers", &b"[[\"secret\"]]"[..], "field headers"),
            ("headers", b"[[\"iobox-secret\",\"\"]]", "field headers"),
            ("key", b"secret\xff", "field key is not UTF-8"),
            ("key", b"secret\n", "control character"),
            ("topic", b"secret topic", "topic has"),
            (
                "id",
                b"00000000-0000-0000-0000-000000000007/",
                "id is empty",
            ),
        ] {
            let mut broken = whole.clone();
            broken.retain(|(field, _)| field != name.as_bytes());
            broken.push((name.into(), value.into()));
            let error = read(&broken).expect_err(says).to_string();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
        for name in ["id", "topic", "key", "headers", "payload"] {
            let mut twice = whole.clone();
            twice.push((name.into(), b"secret".into()));
            let error = read(&twice).expect_err("twice").to_string();
            assert!(error.contains(&format!("field {name} is given twice")));
        }
    }

    #[test]
    fn a_mangled_entry_is_read_or_refused_without_its_content() {
        let whole = message(Some("k s3cr3t"), &[("tenant", "s3cr3t"), ("b", "2")]);
        let whole = fields(&wire("iobox:").add(&whole));
        for at in 0..whole.len() {
            for value in hostile::mangled(&whole[at].1, 7, 2_000) {
                let mut entry = whole.clone();
                entry[at].1 = value;
                if let Err(error) = read(&entry) {
                    for text in hostile::texts_of(&error) {
                        assert!(hostile::is_plain(&text), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_entry_without_an_origin_is_not_ours() {
        let whole = fields(&wire("iobox:").add(&message(None, &[])));
        for id in [
            "order-1",
            "a/b",
            "0000000000000000000000000000000a/x",
            "00000000-0000-0000-0000-00000000000A/x",
        ] {
            let mut other = whole.clone();
            other[0].1 = id.into();
            assert!(read(&other).expect("another program's").is_none(), "{id}");
        }
        for missing in 0..3 {
            let mut other = whole.clone();
            other.remove(missing);
            assert!(read(&other).expect("another program's").is_none());
        }
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
