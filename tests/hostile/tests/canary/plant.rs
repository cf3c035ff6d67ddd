//! What is planted, and in which forms it would show.

use iobox::message::{Draft, Message};
use iobox_testkit::broker::support::{ORIGIN, message};

/// Stands in passwords and tokens, and in payloads that no broker is sent.
pub(crate) const SECRET: &str = "s3cr3t-CANARY";

/// The same with what is special in a URL behind it, and how one writes that there.
pub(crate) const SPECIAL: (&str, &str) =
    ("s3cr3t-CANARY@:/%é", "s3cr3t%2DCANARY%40%3A%2F%25%C3%A9");

/// Stands in ordering keys and in the values of headers.
pub(crate) const PRIVATE: &str = "linnet-8c41";

/// Stands in payloads.
pub(crate) const PAYLOAD: &str = "finch-93b07d";

/// The forms in which a planted text would show: as it is, percent-encoded, in base 64, in hex, and as
/// the numbers that `Debug` makes of bytes.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    let numbers: Vec<String> = text.bytes().take(8).map(|b| b.to_string()).collect();
    vec![
        text.to_owned(),
        text.replace('-', "%2D"),
        text.replace('-', "%2d"),
        base64(text.as_bytes()),
        hex,
        numbers.join(", "),
    ]
}

/// Without padding and without the last group, which depends on what follows.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, b| bits << 8 | usize::from(*b));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(LETTERS[bits >> shift & 63]));
        }
    }
    text
}

/// A draft that is secret in every part but its id and topic.
pub(crate) fn draft(id: &str) -> Draft {
    let draft = Draft::new("orders.created", format!("{{\"password\":\"{PAYLOAD}\"}}"));
    draft
        .id(id)
        .key(format!("{PRIVATE}-{id}"))
        .header("tenant", PRIVATE)
}

/// A message that is secret in every part but its id and topic.
pub(crate) fn secret(id: &str, topic: &str) -> Message {
    let key = format!("{PRIVATE}-{id}");
    message(
        ORIGIN,
        id,
        topic,
        Some(&key),
        &[("tenant", PRIVATE)],
        PAYLOAD,
    )
}

#[test]
fn a_form_is_what_others_make_of_it() {
    assert_eq!(base64(b"s3cr3t"), "czNjcjN0");
    assert!(format!("{:?}", SECRET.as_bytes()).contains(&forms(SECRET)[5]));
}
