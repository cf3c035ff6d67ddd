//! The arrival: an entry of the stream, as the broker delivered it.

use std::fmt;

use async_nats::Message;

use super::place::Place;

/// One delivery of an entry. `Debug` shows its place alone.
pub(super) struct Arrival {
    pub(super) place: Place,
    /// Where acks of it go.
    pub(super) reply: String,
    pub(super) message: Message,
}

impl Arrival {
    /// An arrival; none if the message is no entry, but what the broker says about a request.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let reply = message.reply.as_ref()?.as_str();
        let place = Place::read(reply)?;
        Some(Self {
            place,
            // A copy, since the message's own holds on to what was read with it.
            reply: reply.to_owned(),
            message: message.clone(),
        })
    }

    /// How much room it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.message.length
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_it_is_not_shown() {
        let reply = "$JS.ACK.ORDERS.app~ORDERS~1~1.1.7.3.1700000000000000001.4";
        let mut headers = async_nats::HeaderMap::new();
        let value = "canary".parse::<async_nats::HeaderValue>();
        headers.insert("a", value.expect("a value"));
        let message = Message {
            subject: "orders".into(),
            reply: Some(reply.into()),
            payload: "canary".into(),
            headers: Some(headers),
            status: None,
            description: None,
            length: 100,
        };
        let arrival = Arrival::of(&message).expect("an arrival");
        assert_eq!((arrival.reply.as_str(), arrival.bytes()), (reply, 100));
        let shown = format!("{arrival:?}");
        assert!(
            shown.contains("stream: 7") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
