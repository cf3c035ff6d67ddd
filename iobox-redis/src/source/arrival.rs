//! The arrival: the delivery that an entry becomes, or why it becomes none.

use std::time::{Duration, UNIX_EPOCH};

use iobox_core::{
    Error, Result,
    inbox::Delivery,
    message::{Draft, Limits},
    source::Refused,
};

use super::{entry::Entry, stream::Stream};
use crate::wire::{self, Field};

/// Where the payload of another program is looked for, in this order.
const PAYLOADS: [&str; 2] = [wire::PAYLOAD, "data"];

/// How entries of other programs are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign {
    /// The field with the id that their producer gave them.
    pub(super) id: Option<String>,
    /// The field with the ordering key.
    pub(super) key: Option<String>,
}

/// What an entry became.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) outcome: Result<Delivery, Refused>,
    /// The bytes that it takes in a batch.
    pub(super) size: usize,
}

/// Makes arrivals of entries.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) foreign: Foreign,
    pub(super) limits: Limits,
}

impl Reading {
    /// Reads an entry of a stream in its `round`, `now` being the server's milliseconds.
    pub(super) fn arrival(&self, stream: &Stream, round: u16, entry: &Entry, now: u64) -> Arrival {
        let mut size = entry.size();
        let outcome = match self.delivery(stream, round, entry) {
            Ok(mut delivery) => {
                size = delivery.message().size();
                if let Some(added) = entry.id.clock() {
                    let age = Duration::from_millis(now.saturating_sub(added));
                    delivery = delivery.aged(age);
                    // A clock of the far future is none.
                    if let Some(at) = UNIX_EPOCH.checked_add(Duration::from_millis(added)) {
                        delivery = delivery.occurred_at(at);
                    }
                }
                Ok(delivery)
            }
            Err(error) => Err(Refused {
                place: format!("{} {}", stream.key, entry.id),
                reason: error.to_string(),
            }),
        };
        Arrival { outcome, size }
    }

    fn delivery(&self, stream: &Stream, round: u16, entry: &Entry) -> Result<Delivery> {
        let fields = entry.fields.as_deref().unwrap_or_default();
        let delivery = match wire::read(fields)? {
            Some(message) => Delivery::new(message),
            None => Delivery::foreign(&self.foreign(stream, round, entry, fields)?)?,
        };
        delivery.check(self.limits)?;
        Ok(delivery)
    }

    /// The message in the entry of another program.
    fn foreign(
        &self,
        stream: &Stream,
        round: u16,
        entry: &Entry,
        fields: &[Field],
    ) -> Result<Draft> {
        let mut draft = match payload(fields)? {
            Some(payload) => Draft::new(stream.topic.as_str(), payload.to_vec()),
            None => Draft::new(stream.topic.as_str(), json(fields)?)
                .header("content-type", "application/json"),
        };
        draft = match &self.foreign.id {
            Some(name) => {
                let missing = || Error::invalid("the field that holds the id is not there");
                draft.id(wire::text(fields, name)?.ok_or_else(missing)?)
            }
            None => draft.id(stream.id_of(entry.id, round)),
        };
        if let Some(name) = &self.foreign.key
            && let Some(key) = wire::text(fields, name)?
        {
            draft = draft.key(key);
        }
        Ok(draft)
    }
}

/// The payload, if it is a field.
fn payload(fields: &[Field]) -> Result<Option<&[u8]>> {
    for name in PAYLOADS {
        if let Some(payload) = wire::value(fields, name)? {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}

/// All fields as a JSON object, in their order.
fn json(fields: &[Field]) -> Result<Vec<u8>> {
    let mut object = vec![b'{'];
    for (at, (name, value)) in fields.iter().enumerate() {
        if fields.iter().take(at).any(|(other, _)| other == name) {
            return Err(Error::invalid(format!(
                "field {at} has the name of another"
            )));
        }
        for (bytes, then) in [(name, b':'), (value, b',')] {
            let text = str::from_utf8(bytes).map_err(|_| {
                Error::invalid(format!(
                    "field {at} is not UTF-8, and so not JSON; give bytes a field named payload or \
                     data"
                ))
            })?;
            serde_json::to_writer(&mut object, text)
                .map_err(|_| Error::internal("a text cannot be written as JSON"))?;
            object.push(then);
        }
    }
    if object.len() > 1 {
        object.pop();
    }
    object.push(b'}');
    Ok(object)
}

#[cfg(test)]
mod tests {
    use iobox_core::message::{Origin, Topic};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn read(fields: &[(&str, &[u8])], foreign: Foreign) -> Arrival {
        let stream = Stream {
            key: "events".to_owned(),
            topic: Topic::new("orders.created").expect("a topic"),
        };
        let entry = Entry {
            id: format!("{NOW}-3").parse().expect("an id"),
            fields: Some(
                fields
                    .iter()
                    .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
                    .collect(),
            ),
        };
        let reading = Reading {
            foreign,
            limits: Limits::new(100).expect("limits"),
        };
        reading.arrival(&stream, 0, &entry, NOW + 5)
    }

    fn taken(fields: &[(&str, &[u8])], foreign: Foreign) -> Delivery {
        read(fields, foreign).outcome.expect("a delivery")
    }

    #[test]
    fn another_programs_payload_is_a_field_or_all_of_them() {
        for (fields, expected, is_json) in [
            (&[("payload", &b"\xff"[..])][..], &b"\xff"[..], false),
            (&[("x", b"1"), ("data", b"d")], b"d", false),
            (&[("data", b"d"), ("payload", b"p")], b"p", false),
            (
                &[("b", "\"ü\"".as_bytes()), ("a", b"\n")],
                "{\"b\":\"\\\"ü\\\"\",\"a\":\"\\n\"}".as_bytes(),
                true,
            ),
        ] {
            let delivery = taken(fields, Foreign::default());
            let message = delivery.message();
            assert_eq!(message.payload(), expected);
            let content = message.headers().get("content-type");
            assert_eq!(content, is_json.then_some("application/json"));
            assert_eq!(message.origin(), Origin::FOREIGN);
            assert_eq!(message.id().as_str(), format!("events/{NOW}-3"));
            assert_eq!(message.topic().as_str(), "orders.created");
            assert_eq!(message.key(), None);
            assert_eq!(delivery.age(), Some(Duration::from_millis(5)));
            let since = delivery
                .event_time()
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            assert_eq!(since, Some(Duration::from_millis(NOW)));
        }
    }

    #[test]
    fn fields_of_a_producer_are_used_when_they_are_named() {
        let foreign = Foreign {
            id: Some("event".to_owned()),
            key: Some("account".to_owned()),
        };
        let fields = [("event", &b"e-1"[..]), ("account", b"7"), ("data", b"")];
        let delivery = taken(&fields, foreign.clone());
        let message = delivery.message();
        assert_eq!(message.id().as_str(), "e-1");
        assert_eq!(message.key().map(ToString::to_string).as_deref(), Some("7"));
        let refused = read(&fields[1..], foreign).outcome.expect_err("no id");
        assert!(refused.reason.contains("holds the id"), "{refused:?}");
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_place_and_without_its_content() {
        for fields in [
            &[("a", &b"secret\xff"[..])][..],
            &[("secret", b"1"), ("secret", b"2")],
            &[("data", b"secret"), ("data", b"secret")],
            &[("data", &[b's'; 101])],
        ] {
            let refused = read(fields, Foreign::default()).outcome;
            let refused = refused.expect_err("no message");
            assert_eq!(refused.place, format!("events {NOW}-3"));
            let shown = format!("{refused:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("ss"),
                "{shown}"
            );
        }
    }
}
