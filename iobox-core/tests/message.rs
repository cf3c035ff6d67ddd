//! Wire ids: what is written is read back, and nothing else is taken for one.

use iobox_core::{
    ErrorKind,
    message::{Headers, Message, MessageId, Origin, Topic},
};
use uuid::Uuid;

fn message(id: &str) -> Message {
    Message::new(
        Origin::new(Uuid::from_u128(7)),
        MessageId::new(id).expect("an id"),
        Topic::new("t").expect("a topic"),
        None,
        Headers::default(),
        "x".into(),
    )
}

#[test]
fn a_wire_id_is_read_back() {
    for id in ["a", "a/b", "/", "注文 1", &"x".repeat(255)] {
        let one = message(id);
        let read = Origin::read_wire_id(&one.wire_id()).expect("a wire id");
        assert_eq!(read, (one.origin(), one.id().clone()));
    }
}

#[test]
fn what_is_no_wire_id_is_refused() {
    let uuid = Uuid::from_u128(7);
    for text in [
        String::new(),
        "a".to_owned(),
        "a/b".to_owned(),
        uuid.to_string(),
        format!("{uuid}/"),
        format!("{}/a", uuid.simple()),
        format!(
            "{}/a",
            Uuid::from_u128(0xA).hyphenated().to_string().to_uppercase()
        ),
        format!("{}/a", uuid.urn()),
        format!("{{{uuid}}}/a"),
        format!(" {uuid}/a"),
        format!("{uuid}/a\n"),
        format!("{uuid}/{}", "x".repeat(256)),
    ] {
        let error = Origin::read_wire_id(&text).expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
