//! The arrival: an entry of the stream, as the broker delivered it.

use async_nats::Message;

use super::place::Place;

/// One delivery of an entry.
#[derive(Debug)]
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
