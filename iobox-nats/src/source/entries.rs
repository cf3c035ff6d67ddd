//! Entries of a stream by their numbers, past any consumer.

use async_nats::{
    HeaderName, StatusCode,
    jetstream::{ErrorCode, stream::RawMessage},
};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::{
    error::{self, Refusal},
    session::Session,
};

/// What the first line of headers begins with.
const VERSION: &str = "NATS/1.0";

#[derive(Serialize)]
struct Get<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

#[derive(Serialize)]
struct Delete {
    seq: u64,
    no_erase: bool,
}

#[derive(Deserialize)]
struct Deleted {}

/// The entries of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) session: &'a Session,
    pub(super) stream: &'a str,
}

impl Entries<'_> {
    /// The entry of a number.
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<RawMessage>, Refusal> {
        let get = Get {
            seq: sequence,
            next_by_subj: None,
        };
        self.get(&get).await
    }

    /// The first entry from a number on.
    pub(super) async fn next(
        &self,
        from: u64,
        filter: &Filter,
    ) -> Result<Option<RawMessage>, Refusal> {
        let all = [String::from(">")];
        let subjects = match filter.subjects() {
            [] => &all,
            some => some,
        };
        let mut first: Option<RawMessage> = None;
        for subject in subjects {
            let get = Get {
                seq: from,
                next_by_subj: Some(subject),
            };
            let found = self.get(&get).await?;
            let sooner = |one: &RawMessage| {
                let first = first.as_ref();
                first.is_none_or(|first| one.sequence < first.sequence)
            };
            if let Some(found) = found.filter(sooner) {
                first = Some(found);
            }
        }
        Ok(first)
    }

    async fn get(&self, get: &Get<'_>) -> Result<Option<RawMessage>, Refusal> {
        let asked = self.session.ask::<Got>("STREAM.MSG.GET", self.stream, get);
        match asked.await? {
            Ok(got) => Ok(Some(got.message)),
            Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
            Err(error) => Err(error::of_api(&error, self.stream)),
        }
    }

    /// Removes an entry, as a work queue does with one that is acked.
    pub(super) async fn remove(&self, sequence: u64) -> Result<(), Refusal> {
        let delete = Delete {
            seq: sequence,
            no_erase: true,
        };
        let asked = self
            .session
            .ask::<Deleted>("STREAM.MSG.DELETE", self.stream, &delete);
        match asked.await? {
            Err(error) if error.error_code() != ErrorCode::NO_MESSAGE_FOUND => {
                Err(error::of_api(&error, self.stream))
            }
            _ => Ok(()),
        }
    }
}

/// When the stream took an entry, in nanoseconds since 1970.
pub(super) fn taken(raw: &RawMessage) -> u64 {
    u64::try_from(raw.time.unix_timestamp_nanos()).unwrap_or_default()
}

/// Refuses what async-nats takes for a broken protocol, after which it ends the connection.
///
/// By the rules of the function `try_read_op` of version 0.51, blank for blank: an entry that this takes
/// for fine and the driver does not ends every reader for ever.
pub(super) fn judge(raw: &RawMessage) -> Result<(), &'static str> {
    judge_subject(&raw.subject, raw.headers.is_some())?;
    let Some(headers) = &raw.headers else {
        return Ok(());
    };
    let headers = from_base64(headers).ok_or("its headers came in no base64")?;
    judge_headers(&headers)
}

fn judge_subject(subject: &str, has_headers: bool) -> Result<(), &'static str> {
    if subject.contains(char::REPLACEMENT_CHARACTER) {
        return Err("its subject is not UTF-8");
    }
    // Without headers the driver parts the line at blanks only, which no subject has.
    if has_headers && subject.split_whitespace().count() != 1 {
        return Err("its subject has white space");
    }
    Ok(())
}

fn judge_headers(headers: &[u8]) -> Result<(), &'static str> {
    let text = str::from_utf8(headers).map_err(|_| "its headers are not UTF-8")?;
    let mut lines = text.lines().peekable();
    let version = lines.next().and_then(|line| line.strip_prefix(VERSION));
    let version = version.ok_or("its headers do not begin with their version")?;
    let version = version.trim();
    let status = version
        .split_once(' ')
        .map_or(version, |(status, _)| status);
    let status = status.trim();
    if !status.is_empty() && status.parse::<StatusCode>().is_err() {
        return Err("its headers begin with a status that is none");
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
        if name.parse::<HeaderName>().is_err() {
            return Err("a header has a name that is none");
        }
        // Trimmed before the lines that go on with it, whose white space counts.
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        if value.trim_end().contains('\r') {
            return Err("a header has a carriage return in its value");
        }
    }
    Ok(())
}

/// Reads base64 with its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, expected) in [
            ("", &b""[..]),
            ("TkFUUy8xLjA=", b"NATS/1.0"),
            ("/+8=", &[0xFF, 0xEF]),
            ("TWFu", b"Man"),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(from_base64("a b"), None);
    }

    #[test]
    fn headers_that_end_a_connection_are_told() {
        for fine in [
            &b"NATS/1.0\r\n\r\n"[..],
            b"NATS/1.0\r\na: b\r\n\r\n",
            b"NATS/1.0\r\na:\r\n\r\n",
            b"NATS/1.0\r\na: b\r\n  c\r\n\r\n",
            b"NATS/1.0 503\r\n\r\n",
            b"NATS/1.0\r\na: \xC3\xBC\r\n\r\n",
            b"NATS/1.0  \t404 No Messages\r\n\r\n",
            b"NATS/1.0 404 \tx\r\n\r\n",
            b"NATS/1.0\r\na: \r b\r\n c \r \r\n\r\n",
        ] {
            assert_eq!(judge_headers(fine), Ok(()), "{fine:?}");
        }
        for bad in [
            &b""[..],
            b"HTTP/1.1\r\n\r\n",
            b"NATS/1.0 abc\r\n\r\n",
            b"NATS/1.0\r\na: \xFC\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\na: b\rc\r\n\r\n",
            b"NATS/1.0 404\tx\r\n\r\n",
            b"NATS/1.0\r\na:\r\n \rb\r\n\r\n",
        ] {
            assert!(judge_headers(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn subjects_that_end_a_connection_are_told() {
        for blank in ['\u{A0}', '\u{3000}', '\u{B}'] {
            let inside = format!("shop.a{blank}b");
            assert!(judge_subject(&inside, true).is_err(), "{inside:?}");
            assert_eq!(judge_subject(&inside, false), Ok(()), "{inside:?}");
            assert!(judge_subject(&blank.to_string(), true).is_err());
            // The driver takes it for another subject, and lives.
            assert_eq!(judge_subject(&format!("shop.a{blank}"), true), Ok(()));
        }
        for headers in [true, false] {
            assert_eq!(judge_subject("shop.\u{FC}", headers), Ok(()));
            assert!(judge_subject("shop.\u{FFFD}", headers).is_err());
        }
    }
}
