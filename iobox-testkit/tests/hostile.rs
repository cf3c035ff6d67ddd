//! Core against the hostile tables: every constructor that takes text, bytes or numbers from outside.

use std::collections::BTreeSet;

use iobox_core::{
    inbox::{Delivery, HandlerName, SourceName, TopicPattern},
    message::{Draft, Headers, Limits, MessageId, OrderingKey, Origin, RandomIds, Topic},
    partition::Partitions,
    source::Position,
};
use iobox_testkit::hostile::{self, Entry};

#[test]
fn ids_and_keys() {
    let texts = hostile::texts();
    hostile::judge("id", &texts, |text| {
        let id = MessageId::new(text)?;
        assert_eq!((id.as_str(), id.to_string()), (text.as_str(), text.clone()));
        assert!(hostile::is_plain(&format!("{id:?}")), "Debug escapes");
        Ok(())
    });
    hostile::judge("ordering key", &texts, |text| {
        let key = OrderingKey::new(text)?;
        assert_eq!(key.as_str(), text);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("OrderingKey({} bytes)", text.len()));
        Ok(())
    });
}

#[test]
fn topics_and_patterns() {
    hostile::judge("topic", &hostile::topics(), |text| {
        let topic = Topic::new(text)?;
        assert_eq!(topic.as_str(), text);
        assert!(
            TopicPattern::new(text)?.matches(&topic),
            "it matches itself"
        );
        assert!(TopicPattern::new(">")?.matches(&topic));
        Ok(())
    });
    hostile::judge("topic pattern", &hostile::patterns(), |text| {
        assert_eq!(TopicPattern::new(text)?.as_str(), text);
        Ok(())
    });
}

#[test]
fn names_and_positions() {
    let names = hostile::names();
    hostile::judge("name of a handler", &names, |text| {
        assert_eq!(HandlerName::new(text)?.as_str(), text);
        Ok(())
    });
    hostile::judge("name of a source", &names, |text| {
        assert_eq!(SourceName::new(text)?.as_str(), text);
        Ok(())
    });
    hostile::judge("position", &hostile::positions(), |text| {
        let position = Position::new(text)?;
        assert_eq!(position.as_str(), text);
        assert!(hostile::is_plain(&format!("{position:?}")));
        Ok(())
    });
}

#[test]
fn headers_as_given_and_as_stored() {
    hostile::judge("header", &hostile::headers(), |pairs| {
        let headers = Headers::from_pairs(pairs.clone())?;
        let again = Headers::from_json(&headers.to_json())?;
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        assert!(again.iter().eq(pairs), "they come back in their order");
        assert_eq!(headers.size(), again.size());
        Ok(())
    });
    hostile::judge("stored headers", &hostile::stored_headers(), |text| {
        Headers::from_json(text).map(|_| ())
    });
}

#[test]
fn whole_drafts() {
    let seal = |draft: &Draft| draft.seal(Origin::FOREIGN, Limits::default(), &RandomIds);
    let texts = hostile::texts();
    hostile::judge("id", &texts, |text| {
        let draft = Draft::new("t", "").id(text);
        let delivered = Delivery::foreign(&draft);
        assert_eq!(seal(&draft).is_ok(), delivered.is_ok());
        assert_eq!(
            delivered?.message().wire_id(),
            format!("{}/{text}", Origin::FOREIGN)
        );
        Ok(())
    });
    hostile::judge("ordering key", &texts, |text| {
        seal(&Draft::new("t", "").key(text)).map(|_| ())
    });
    hostile::judge("topic", &hostile::topics(), |text| {
        seal(&Draft::new(text.as_str(), "")).map(|_| ())
    });
    hostile::judge("payload", &hostile::payloads(), |bytes| {
        let sealed = seal(&Draft::new("t", bytes.clone()))?;
        assert_eq!(sealed.message.payload(), bytes);
        Ok(())
    });
    for draft in hostile::drafts() {
        let sealed = seal(&draft).expect("it is taken");
        for shown in [format!("{draft:?}"), format!("{sealed:?}")] {
            assert!(hostile::is_plain(&shown), "{shown}");
        }
    }
}

#[test]
fn numbers() {
    hostile::judge("payload_max", &hostile::payload_bounds(), |bytes| {
        Limits::new(*bytes).map(|limits| assert_eq!(limits.payload_max(), *bytes))
    });
    hostile::judge("partitions", &hostile::partition_counts(), |count| {
        Partitions::new(*count).map(|made| assert_eq!(made.count(), *count))
    });
}

/// Nothing in the tables is there twice, so that their size says something.
#[test]
fn no_table_repeats_itself() {
    fn different<T: Ord>(entries: Vec<Entry<T>>) -> usize {
        let count = entries.len();
        let inputs: BTreeSet<T> = entries.into_iter().map(|entry| entry.input).collect();
        assert_eq!(inputs.len(), count);
        count
    }
    let sizes = [
        different(hostile::texts()),
        different(hostile::topics()),
        different(hostile::patterns()),
        different(hostile::headers()),
        different(hostile::stored_headers()),
        different(hostile::names()),
        different(hostile::positions()),
        different(hostile::identifiers()),
        different(hostile::payloads()),
        different(hostile::payload_bounds()),
        different(hostile::partition_counts()),
    ];
    let total: usize = sizes.iter().sum();
    assert!(total >= 700, "{sizes:?} are {total}");
}
