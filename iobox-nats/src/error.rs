//! Errors: one table from what the driver and the server say to what the relay should do.

use async_nats::{
    ConnectErrorKind, PublishErrorKind, StatusCode,
    jetstream::{Error as ApiError, ErrorCode, context::RequestErrorKind},
};
use bytes::Bytes;
use iobox_core::{
    Error, ErrorKind,
    publisher::{PublishError, Receipt},
};
use serde::Deserialize;

/// What an answer of the server means for the message that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Not taken now: send it again later.
    Transient,
    /// Never to be taken.
    Permanent,
    /// Not taken, and no other would be.
    Unavailable,
    /// Perhaps taken.
    Unknown,
}

impl Class {
    pub(crate) fn error(self, reason: String) -> PublishError {
        match self {
            Self::Transient => PublishError::Transient(reason),
            Self::Permanent => PublishError::Permanent(reason),
            Self::Unavailable => PublishError::Unavailable(reason),
            Self::Unknown => PublishError::Unknown(reason),
        }
    }
}

/// Why there is no connection over which messages may be sent.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    /// Whether the stream does not exist.
    pub(crate) missing: bool,
}

impl Refusal {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            text: text.into(),
            missing: false,
        }
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            text: text.into(),
            missing: false,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.text)
    }
}

/// A reply to a publish, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) payload: Bytes,
}

/// The JSON of a reply.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    stream: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    error: Option<ApiError>,
}

/// What became of a message, and whether the stream may have changed since it was looked at.
pub(crate) struct Verdict {
    pub(crate) outcome: Result<Receipt, PublishError>,
    pub(crate) stale: bool,
}

impl Verdict {
    fn failed(class: Class, reason: String, stale: bool) -> Self {
        Self {
            outcome: Err(class.error(reason)),
            stale,
        }
    }
}

/// Judges the reply to a message that was to go into `stream`.
pub(crate) fn judge(answer: &Answer, stream: &str) -> Verdict {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        let reason = format!("no stream answered; is stream {stream} gone, or without a leader?");
        return Verdict::failed(Class::Unavailable, reason, true);
    }
    let reply: Reply<'_> = match serde_json::from_slice(&answer.payload) {
        Ok(reply) => reply,
        Err(error) => {
            let reason = format!("the reply is no acknowledgement: {error}");
            return Verdict::failed(Class::Unknown, reason, false);
        }
    };
    match (reply.error, reply.stream) {
        (Some(error), _) => {
            let class = class_of_answer(&error);
            let stale = class == Class::Unavailable;
            Verdict::failed(
                class,
                format!("the server refuses the message: {error}"),
                stale,
            )
        }
        (None, Some(taker)) if taker == stream => Verdict {
            outcome: Ok(if reply.duplicate {
                Receipt::duplicate()
            } else {
                Receipt::new()
            }),
            stale: false,
        },
        (None, Some(taker)) => {
            let reason = format!(
                "stream {taker} took the message, not {stream}: move the subject to stream {stream}"
            );
            Verdict::failed(Class::Transient, reason, true)
        }
        (None, None) => {
            let reason = String::from("the reply is no acknowledgement: it names no stream");
            Verdict::failed(Class::Unknown, reason, false)
        }
    }
}

/// The class of an error that JetStream answers to a publish.
pub(crate) fn class_of_answer(error: &ApiError) -> Class {
    // One code for a stream that is full and for a subject that is full: the text alone tells.
    let full_subject = error.error_code() == ErrorCode::STREAM_STORE_FAILED
        && error.to_string().contains("per subject");
    if full_subject {
        return Class::Transient;
    }
    class_of_code(error.error_code()).unwrap_or(if error.code() >= 500 {
        Class::Unavailable
    } else {
        Class::Transient
    })
}

/// The class of a code, or none if no publish gets it from the servers of today.
///
/// Those are answers all the same, so that the message was not taken: [`class_of_answer`] goes by
/// the status then.
pub(crate) fn class_of_code(code: ErrorCode) -> Option<Class> {
    Some(match code {
        // The message is too large for the stream.
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Class::Permanent
        }
        // Headers that iobox never writes; a server that reads them into a message is misled for
        // good.
        ErrorCode::STREAM_ROLLUP_FAILED
        | ErrorCode::MESSAGE_TTL_INVALID
        | ErrorCode::MESSAGE_TTL_DISABLED
        | ErrorCode::MESSAGE_INCR_DISABLED
        | ErrorCode::MESSAGE_INCR_MISSING
        | ErrorCode::MESSAGE_INCR_PAYLOAD
        | ErrorCode::MESSAGE_INCR_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_DISABLED
        | ErrorCode::MESSAGE_SCHEDULES_PATTERN_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_TARGET_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_TTL_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_ROLLUP_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_SOURCE_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_SCHEDULER_INVALID
        | ErrorCode::MESSAGE_SCHEDULES_TIME_ZONE_INVALID => Class::Permanent,
        // The stream, the account or the server as a whole takes nothing: full, sealed, gone, without
        // a leader, without resources.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_LIMITS
        | ErrorCode::TEMP_STORAGE_FAILED
        | ErrorCode::STREAM_NOT_FOUND
        | ErrorCode::STREAM_SEALED
        | ErrorCode::STREAM_OFFLINE
        | ErrorCode::STREAM_OFFLINE_REASON
        | ErrorCode::STREAM_TOO_MANY_REQUESTS
        | ErrorCode::NO_ACCOUNT
        | ErrorCode::JETSTREAM_NOT_ENABLED
        | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
        | ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_ACTIVE
        | ErrorCode::CLUSTER_NOT_ASSIGNED
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::CLUSTER_NO_PEERS
        | ErrorCode::CLUSTER_INCOMPLETE
        | ErrorCode::RAFT_GENERAL => Class::Unavailable,
        // Another copy of the message is on its way into the stream, and may get there.
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => Class::Unknown,
        // Expectations that iobox never states; somebody between may.
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE
        | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
        | ErrorCode::STREAM_WRONG_LAST_MESSAGE_ID
        | ErrorCode::STREAM_NOT_MATCH
        | ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY
        | ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID => Class::Transient,
        _ => return None,
    })
}

/// The class of an error of the driver before it has taken a message into its queue.
pub(crate) fn class_of_send(kind: PublishErrorKind) -> Class {
    match kind {
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => Class::Permanent,
        // The queue is closed, since its connection has ended: the message never got into it.
        PublishErrorKind::Send => Class::Unavailable,
    }
}

/// Why a connection could not be made.
pub(crate) fn of_connect(kind: ConnectErrorKind, detail: &str) -> Refusal {
    match kind {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Refusal::invalid(
                "the server refuses the credentials: check the user and password or the token of \
                 the configuration",
            )
        }
        ConnectErrorKind::ServerParse => {
            Refusal::invalid(format!("the servers cannot be used: {detail}"))
        }
        ConnectErrorKind::Tls => Refusal::invalid(format!(
            "TLS with the server failed: {detail}; check its certificate and the system's roots"
        )),
        // A name that does not resolve may do so later.
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {
            Refusal::unavailable(format!("the server cannot be reached: {detail}"))
        }
    }
}

/// Why `question`, which is a subject of JetStream, was not answered.
pub(crate) fn of_request(kind: RequestErrorKind, question: &str, detail: &str) -> Refusal {
    match kind {
        RequestErrorKind::NoResponders => Refusal::invalid(
            "JetStream does not answer: start the server with -js, or enable JetStream for the \
             account",
        ),
        RequestErrorKind::InvalidSubject => {
            Refusal::invalid(format!("JetStream cannot be asked: {detail}"))
        }
        RequestErrorKind::TimedOut => Refusal::unavailable(format!(
            "JetStream did not answer in time; if that stays so, check that the user may publish \
             to $JS.API.{question}.> and subscribe to _INBOX.>"
        )),
        RequestErrorKind::Other => {
            Refusal::unavailable(format!("JetStream did not answer: {detail}"))
        }
    }
}

/// Why JetStream refused a question about a stream.
pub(crate) fn of_api(error: &ApiError, stream: &str) -> Refusal {
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => Refusal {
            missing: true,
            ..Refusal::invalid(format!(
                "stream {stream} does not exist: make it, or let the configuration make it by \
                 create_stream"
            ))
        },
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Refusal::invalid(
                "JetStream is not enabled: start the server with -js, or enable it for the account",
            )
        }
        _ if error.code() >= 500 => {
            Refusal::unavailable(format!("JetStream cannot answer now: {error}"))
        }
        _ => Refusal::invalid(format!("JetStream refuses stream {stream}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u64, status: u64, description: &str) -> ApiError {
        let json = serde_json::json!({
            "code": status, "err_code": code, "description": description,
        });
        serde_json::from_value(json).expect("an error")
    }

    /// Every code that a publish can get from a server of today, with its class.
    const CLASSES: [(Class, &[u64]); 4] = [
        (
            Class::Permanent,
            &[
                10_054, 10_097, 10_111, 10_165, 10_166, 10_168, 10_169, 10_170, 10_171, 10_188,
                10_189, 10_190, 10_191, 10_192, 10_203, 10_212, 10_223,
            ],
        ),
        (
            Class::Unavailable,
            &[
                10_002, 10_004, 10_005, 10_006, 10_007, 10_008, 10_009, 10_023, 10_028, 10_035,
                10_039, 10_041, 10_047, 10_053, 10_059, 10_072, 10_076, 10_077, 10_109, 10_118,
                10_167, 10_194,
            ],
        ),
        (Class::Unknown, &[10_158]),
        (
            Class::Transient,
            &[10_060, 10_070, 10_071, 10_163, 10_164, 10_193],
        ),
    ];

    #[test]
    fn every_code_has_its_class() {
        for code in 10_000..=10_400 {
            let mut listed = CLASSES.iter().filter(|(_, codes)| codes.contains(&code));
            let expected = listed.next().map(|(class, _)| *class);
            assert!(listed.next().is_none(), "{code} is listed twice");
            assert_eq!(class_of_code(ErrorCode(code)), expected, "{code}");
            // Those that no publish gets go by the status; none of them is unknown.
            let text = "made up";
            let refused = class_of_answer(&api(code, 400, text));
            let failed = class_of_answer(&api(code, 503, text));
            assert_eq!(refused, expected.unwrap_or(Class::Transient), "{code}");
            assert_eq!(failed, expected.unwrap_or(Class::Unavailable), "{code}");
        }
    }

    #[test]
    fn the_page_of_errors_says_the_same() {
        let name = |class: Class| match class {
            Class::Transient => "transient",
            Class::Permanent => "permanent",
            Class::Unavailable => "unavailable",
            Class::Unknown => "unknown",
        };
        let row = |(class, codes): &(Class, &[u64])| {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            format!("| {} | {} |\n", codes.join(", "), name(*class))
        };
        let rows: String = CLASSES.iter().map(row).collect();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let page = std::fs::read_to_string(page).expect("the page");
        assert!(page.contains(&rows), "docs/errors.md should have:\n{rows}");
    }

    #[test]
    fn a_full_stream_and_a_full_subject_differ() {
        let full = |text| class_of_answer(&api(10_077, 503, text));
        assert_eq!(full("maximum messages exceeded"), Class::Unavailable);
        assert_eq!(full("maximum bytes exceeded"), Class::Unavailable);
        let of_subject = full("maximum messages per subject exceeded");
        assert_eq!(of_subject, Class::Transient);
    }

    #[test]
    fn every_kind_of_the_driver_has_its_class() {
        for (kind, class) in [
            (PublishErrorKind::MaxPayloadExceeded, Class::Permanent),
            (PublishErrorKind::InvalidSubject, Class::Permanent),
            (PublishErrorKind::Send, Class::Unavailable),
        ] {
            assert_eq!(class_of_send(kind), class, "{kind}");
        }
        for (kind, expected) in [
            (ConnectErrorKind::ServerParse, ErrorKind::Invalid),
            (ConnectErrorKind::Dns, ErrorKind::Unavailable),
            (ConnectErrorKind::Authentication, ErrorKind::Invalid),
            (ConnectErrorKind::AuthorizationViolation, ErrorKind::Invalid),
            (ConnectErrorKind::TimedOut, ErrorKind::Unavailable),
            (ConnectErrorKind::Tls, ErrorKind::Invalid),
            (ConnectErrorKind::Io, ErrorKind::Unavailable),
            (ConnectErrorKind::MaxReconnects, ErrorKind::Unavailable),
        ] {
            assert_eq!(of_connect(kind, "made up").kind, expected, "{kind}");
        }
        for (kind, expected) in [
            (RequestErrorKind::NoResponders, ErrorKind::Invalid),
            (RequestErrorKind::TimedOut, ErrorKind::Unavailable),
            (RequestErrorKind::InvalidSubject, ErrorKind::Invalid),
            (RequestErrorKind::Other, ErrorKind::Unavailable),
        ] {
            assert_eq!(
                of_request(kind, "STREAM.INFO", "made up").kind,
                expected,
                "{kind}"
            );
        }
    }

    #[test]
    fn a_question_about_a_stream_is_refused_with_what_to_do() {
        for (code, status, kind, expected) in [
            (10_059, 404, ErrorKind::Invalid, "create_stream"),
            (10_076, 503, ErrorKind::Invalid, "-js"),
            (10_039, 503, ErrorKind::Invalid, "-js"),
            (10_008, 503, ErrorKind::Unavailable, "cannot answer now"),
            (10_052, 400, ErrorKind::Invalid, "refuses stream ORDERS"),
        ] {
            let refusal = of_api(&api(code, status, "made up"), "ORDERS");
            assert_eq!(refusal.kind, kind, "{code}");
            assert!(refusal.text.contains(expected), "{}", refusal.text);
            assert_eq!(refusal.missing, code == 10_059);
        }
    }

    fn judged(payload: &str) -> Verdict {
        let answer = Answer {
            status: None,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        };
        judge(&answer, "ORDERS")
    }

    #[test]
    fn a_reply_is_judged() {
        let taken = judged(r#"{"stream":"ORDERS","seq":7}"#).outcome;
        assert_eq!(taken, Ok(Receipt::new()));
        let known = judged(r#"{"stream":"ORDERS","seq":7,"domain":"hub","duplicate":true}"#);
        assert_eq!(known.outcome, Ok(Receipt::duplicate()));
        let elsewhere = judged(r#"{"stream":"OTHER","seq":7}"#);
        assert!(matches!(elsewhere.outcome, Err(PublishError::Transient(_))) && elsewhere.stale);
        for odd in ["", "{}", "[]", "+OK", r#"{"seq":1}"#] {
            let outcome = judged(odd).outcome;
            assert!(matches!(outcome, Err(PublishError::Unknown(_))), "{odd}");
        }
        let refused = judged(
            r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"ORDERS","seq":0}"#,
        );
        let expected = "message size exceeds maximum allowed";
        assert!(
            matches!(&refused.outcome, Err(PublishError::Permanent(text)) if text.contains(expected))
        );
    }

    #[test]
    fn without_a_stream_a_message_was_not_taken() {
        let answer = Answer {
            status: Some(StatusCode::NO_RESPONDERS),
            payload: Bytes::new(),
        };
        let verdict = judge(&answer, "ORDERS");
        assert!(matches!(verdict.outcome, Err(PublishError::Unavailable(_))) && verdict.stale);
    }
}
