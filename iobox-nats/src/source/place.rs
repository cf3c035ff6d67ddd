//! The place: where an arrival stands in its stream and in its consumer.

use std::time::{Duration, SystemTime};

/// What the subject says to which an arrival is acked.
///
/// async-nats reads it too, but takes what it cannot read for a program's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How often the entry was delivered, this time included.
    pub(super) delivered: u64,
    /// Its number in the stream.
    pub(super) stream: u64,
    /// Its number among the deliveries of the consumer.
    pub(super) consumer: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub(super) taken: u64,
    /// How many entries the consumer has behind it.
    pub(super) pending: u64,
}

impl Place {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer
    /// sequence>.<time>.<pending>`, or its longer form, which has a domain and an account in front
    /// and a token behind.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let tokens: Vec<&str> = rest.split('.').collect();
        let numbers = match tokens.len() {
            7 => tokens.get(2..7)?,
            9.. => tokens.get(4..9)?,
            _ => return None,
        };
        let number = |at: usize| numbers.get(at)?.parse().ok();
        Some(Self {
            delivered: number(0)?,
            stream: number(1)?,
            consumer: number(2)?,
            taken: number(3)?,
            pending: number(4)?,
        })
    }

    /// When the stream took it.
    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected = Place {
            delivered: 1,
            stream: 7,
            consumer: 3,
            taken: 1_700_000_000_000_000_001,
            pending: 4,
        };
        for reply in [
            "$JS.ACK.ORDERS.app~ORDERS~1~1.1.7.3.1700000000000000001.4",
            "$JS.ACK.hub.ACCOUNT.ORDERS.app.1.7.3.1700000000000000001.4",
            "$JS.ACK._.ACCOUNT.ORDERS.app.1.7.3.1700000000000000001.4.x7Y",
        ] {
            assert_eq!(Place::read(reply), Some(expected), "{reply}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for reply in [
            "",
            "_INBOX.a.b",
            "$JS.ACK.ORDERS.app.1.7.3.1.4.5",
            "$JS.ACK.ORDERS.app.1.7.3.1",
            "$JS.ACK.ORDERS.app.1.x.3.1.4",
            "$JS.ACK.ORDERS.app.1.-7.3.1.4",
            "$JS.ACK.ORDERS.app.1.99999999999999999999.3.1.4",
        ] {
            assert_eq!(Place::read(reply), None, "{reply}");
        }
    }

    #[test]
    fn a_mangled_reply_is_read_or_none() {
        let reply = b"$JS.ACK.hub.ACCOUNT.ORDERS.app.1.7.3.1700000000000000001.4";
        for text in iobox_testkit::hostile::mangled(reply, 7, 5_000) {
            if let Some(place) = Place::read(&String::from_utf8_lossy(&text)) {
                assert!(place.time() >= SystemTime::UNIX_EPOCH);
            }
        }
    }
}
