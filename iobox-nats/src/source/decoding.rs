//! Decoding: what stands on the wire, as a delivery.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use async_nats::HeaderMap;
use iobox_core::{
    inbox::Delivery,
    message::{Draft, Headers, Limits, Message, OrderingKey, Origin, Topic},
};

use super::{arrival::Arrival, config::SourceConfig, place::Place};
use crate::{subject::Prefix, wire};

/// Prefixes of headers that are not the application's, in lower case.
const RESERVED: [&str; 2] = ["nats-", "iobox-"];
/// Stands between several values of one header.
const BETWEEN: &str = ", ";

/// Decodes the entries of one stream.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    prefix: Prefix,
    stream: String,
    /// When the stream was made, in nanoseconds since 1970.
    created: i128,
    message_ids: bool,
    limits: Limits,
}

impl Decoder {
    pub(super) fn new(config: &SourceConfig, created: i128, limits: Limits) -> Self {
        Self {
            prefix: config.prefix.clone(),
            stream: config.stream.clone(),
            created,
            message_ids: config.message_ids,
            limits,
        }
    }

    /// The delivery of an arrival that was read at `now`; the error says why there is none, and never
    /// what stands in the message.
    pub(super) fn decode(&self, arrival: &Arrival, now: SystemTime) -> Result<Delivery, String> {
        let message = &arrival.message;
        let topic = self.topic(message.subject.as_str())?;
        let parts = Parts::of(message.headers.as_ref());
        let payload = message.payload.clone();
        let delivery = match parts.id {
            Some(id) => {
                let (origin, id) = Origin::read_wire_id(&decoded(wire::ID, id)?).map_err(text)?;
                let key = parts.key()?;
                let headers = Headers::from_pairs(parts.given()?).map_err(text)?;
                let message = Message::new(origin, id, topic, key, headers, payload);
                Delivery::new(message)
            }
            None => {
                let id = self.foreign_id(&parts, &arrival.place);
                let mut draft = Draft::new(topic.as_str(), payload).id(id);
                for (name, value) in parts.given()? {
                    draft = draft.header(name, value);
                }
                Delivery::foreign(&draft).map_err(text)?
            }
        };
        delivery.check(self.limits).map_err(text)?;
        let taken = arrival.place.time();
        // A clock that is behind the server's makes nothing younger than it is.
        let age = now.duration_since(taken).unwrap_or(Duration::ZERO);
        Ok(delivery.occurred_at(taken).aged(age))
    }

    fn topic(&self, subject: &str) -> Result<Topic, String> {
        let Some(topic) = self.prefix.topic_of(subject) else {
            return Err(format!(
                "its subject is not behind the prefix {}: set the prefix to what the publisher has, \
                 or to nothing",
                self.prefix.as_str()
            ));
        };
        Topic::new(topic).map_err(text)
    }

    /// An id that no other entry has: neither of a stream of this name that was made at another time,
    /// nor of one that lost its end and used the number again.
    fn foreign_id(&self, parts: &Parts<'_>, place: &Place) -> String {
        match parts.message_id {
            Some(id) if self.message_ids => id.to_owned(),
            _ => format!(
                "{}/{}/{}/{}",
                self.stream, self.created, place.stream, place.taken
            ),
        }
    }
}

/// The headers of a message, sorted by what they are for.
#[derive(Default)]
struct Parts<'a> {
    id: Option<&'a str>,
    message_id: Option<&'a str>,
    key: Option<&'a str>,
    encoded: Vec<&'a str>,
    /// Those of the application, by name.
    given: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Parts<'a> {
    fn of(headers: Option<&'a HeaderMap>) -> Self {
        let mut parts = Self::default();
        for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
            let name: &str = name.as_ref();
            let all: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
            let first = all.first().copied();
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is(wire::ID) {
                parts.id = first;
            } else if is(wire::MESSAGE_ID) {
                parts.message_id = first;
            } else if is(wire::KEY) {
                parts.key = first;
            } else if is(wire::ENCODED) {
                parts.encoded = all.iter().flat_map(|names| names.split(',')).collect();
            } else {
                let lower = name.to_ascii_lowercase();
                if !RESERVED.iter().any(|prefix| lower.starts_with(prefix)) {
                    parts.given.push((name, all));
                }
            }
        }
        // async-nats keeps no order.
        parts.given.sort_unstable();
        parts
    }

    fn key(&self) -> Result<Option<OrderingKey>, String> {
        self.key
            .map(|key| {
                let key = decoded(wire::KEY, key)?;
                OrderingKey::new(key).map_err(text)
            })
            .transpose()
    }

    /// The headers of the application, with several values of a name put together.
    fn given(&self) -> Result<Vec<(String, String)>, String> {
        let given = self.given.iter().map(|(name, values)| {
            let is_encoded = self.encoded.iter().any(|one| one.trim() == *name);
            let value = values.join(BETWEEN);
            let value = if is_encoded {
                decoded(name, &value)?.into_owned()
            } else {
                value
            };
            Ok(((*name).to_owned(), value))
        });
        given.collect()
    }
}

fn decoded<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, String> {
    wire::decode(value).ok_or_else(|| format!("its header {name:?} is not UTF-8 when decoded"))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it stands where a function of an error is wanted"
)]
fn text(error: iobox_core::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderName, HeaderValue};
    use iobox_testkit::hostile;

    use super::*;

    const REPLY: &str = "$JS.ACK.ORDERS.app~ORDERS~1~1.1.7.3.1700000000000000001.4";

    fn decoder() -> Decoder {
        let config = SourceConfig::builder("nats://localhost", "ORDERS", "billing").build();
        Decoder::new(&config.expect("a configuration"), 1, Limits::default())
    }

    fn arrival(subject: &str, pairs: &[(&str, String)]) -> Arrival {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            // What the driver cannot hold it cannot have read.
            let name = name.parse::<HeaderName>();
            if let (Ok(name), Ok(value)) = (name, value.parse::<HeaderValue>()) {
                headers.append(name, value);
            }
        }
        let message = async_nats::Message {
            subject: subject.into(),
            reply: Some(REPLY.into()),
            payload: "s3cr3t".into(),
            headers: Some(headers),
            status: None,
            description: None,
            length: 100,
        };
        Arrival::of(&message).expect("an arrival")
    }

    #[test]
    fn a_mangled_entry_is_read_or_refused_without_its_content() {
        let decoder = decoder();
        let whole = [
            ("Nats-Msg-Id", String::from("x")),
            (wire::ID, format!("{}/order%201", Origin::FOREIGN)),
            (wire::KEY, String::from("k%20s3cr3t")),
            (wire::ENCODED, String::from("tenant")),
            ("tenant", String::from("%20s3cr3t%20")),
        ];
        let now = SystemTime::UNIX_EPOCH;
        assert!(
            decoder
                .decode(&arrival("iobox.orders", &whole), now)
                .is_ok()
        );
        for at in 0..whole.len() {
            for value in hostile::mangled(whole[at].1.as_bytes(), 7, 2_000) {
                let mut headers = whole.clone();
                headers[at].1 = String::from_utf8_lossy(&value).into_owned();
                if let Err(text) = decoder.decode(&arrival("iobox.orders", &headers), now) {
                    assert!(hostile::is_plain(&text), "{text:?}");
                }
            }
        }
        for subject in hostile::mangled(b"iobox.orders.created", 7, 2_000) {
            let subject = String::from_utf8_lossy(&subject).into_owned();
            if let Err(text) = decoder.decode(&arrival(&subject, &whole), now) {
                assert!(hostile::is_plain(&text), "{text:?}");
            }
        }
    }
}
