//! Headers: they arrive as they were given.

use iobox_core::message::Message;

use super::{
    Harness,
    support::{ORIGIN, TOPIC, assert_holds, labelled, message, payload, publish_all, with_headers},
};

/// Publishes each message in a batch of its own and checks that they arrive as they are.
async fn round_trip<H: Harness>(messages: &[Message]) {
    let harness = H::fresh().await;
    for one in messages {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, messages).await;
}

/// A message without headers arrives without headers.
pub async fn no_headers_arrive_as_none<H: Harness>() {
    round_trip::<H>(&[labelled("a")]).await;
}

/// Names keep their case.
pub async fn names_keep_their_case<H: Harness>() {
    let one = with_headers(
        "a",
        &[("X-Tenant", "1"), ("correlation-ID", "2"), ("lower", "3")],
    );
    round_trip::<H>(&[one]).await;
}

/// Every character that a name may have arrives.
pub async fn every_legal_name_arrives<H: Harness>() {
    let punctuation = "!#$%&'*+-.^_`|~";
    let mut names: Vec<String> = punctuation.chars().map(|c| format!("{c}")).collect();
    names.extend(punctuation.chars().map(|c| format!("a{c}b")));
    names.push(punctuation.to_owned());
    names.push(('a'..='z').collect());
    names.push(('0'..='9').collect());
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    round_trip::<H>(&[with_headers("a", &headers)]).await;
}

/// Every character that a value may have arrives: punctuation, blanks at either end, any script.
pub async fn every_legal_value_arrives<H: Harness>() {
    let ascii: String = (' '..='~').collect();
    let values = [
        ascii.as_str(),
        "",
        " ",
        " both ends ",
        "a: b; c=\"d\", e",
        "%41%0d%0a",
        "=?utf-8?q?no?=",
        "\\r\\n",
        "grüße, 注文, заказ, 🚚",
        "\u{a0}\u{2028}\u{feff}\u{10ffff}",
        "{\"json\":[1,null]}",
    ];
    let messages: Vec<Message> = values
        .iter()
        .enumerate()
        .map(|(n, value)| with_headers(&n.to_string(), &[("value", value), ("next", "plain")]))
        .collect();
    round_trip::<H>(&messages).await;
}

/// Sixty-four headers arrive.
pub async fn the_most_headers_arrive<H: Harness>() {
    let names: Vec<String> = (0..64).map(|n| format!("header-{n:02}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "value")).collect();
    round_trip::<H>(&[with_headers("a", &headers)]).await;
}

/// The longest name, the longest value and the most bytes together arrive.
pub async fn the_longest_headers_arrive<H: Harness>() {
    let (name, value) = ("n".repeat(128), "v".repeat(4_096));
    let third = "w".repeat(4_096 - 128 - 4);
    let headers = [
        (name.as_str(), value.as_str()),
        ("b", &value),
        ("c", &value),
        ("dd", &third),
    ];
    assert_eq!(with_headers("a", &headers).headers().size(), 16 * 1024);
    round_trip::<H>(&[with_headers("a", &headers)]).await;
}

/// Headers belong to their message alone.
pub async fn headers_belong_to_their_message<H: Harness>() {
    round_trip::<H>(&[
        with_headers("a", &[("only", "a"), ("shared", "1")]),
        labelled("b"),
        with_headers("c", &[("shared", "2")]),
    ])
    .await;
}

/// Headers come in the order in which they were given, or all of them as a set.
pub async fn headers_keep_their_order<H: Harness>() {
    let headers = [("z", "1"), ("a", "2"), ("m", "3"), ("b", "4"), ("y", "5")];
    round_trip::<H>(&[with_headers("a", &headers)]).await;
}

/// The trace context arrives under its own name.
pub async fn the_trace_context_arrives<H: Harness>() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", traceparent), ("tracestate", "a=1,b=2")];
    let harness = H::fresh().await;
    let one = with_headers("a", &headers);
    publish_all(harness.publisher().as_ref(), std::slice::from_ref(&one)).await;
    let kept = harness.stored().await.remove(0);
    assert_eq!(kept.header("traceparent"), Some(traceparent));
    assert_eq!(kept.header("tracestate"), Some("a=1,b=2"));
}

/// The content type arrives with the payload, and none is made up.
pub async fn the_content_type_arrives<H: Harness>() {
    let typed = [("content-type", "application/json; charset=utf-8")];
    let harness = H::fresh().await;
    for one in [
        message(ORIGIN, "a", TOPIC, None, &typed, "{}"),
        payload("b", "{}"),
    ] {
        publish_all(harness.publisher().as_ref(), &[one]).await;
    }
    let kept = harness.stored().await;
    assert_eq!(kept[0].header("Content-Type"), Some(typed[0].1));
    assert_eq!(kept[1].header("content-type"), None);
}
