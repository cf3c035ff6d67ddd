//! The message: what an application writes into the outbox and what a broker carries.

mod draft;
mod headers;
mod id;
mod key;
mod limits;
mod origin;
mod text;
mod topic;
mod whole;

pub use draft::{Draft, Sealed};
pub use headers::Headers;
pub use id::{IdSource, MessageId, RandomIds};
pub use key::OrderingKey;
pub use limits::Limits;
pub use origin::Origin;
pub use topic::Topic;
pub use whole::Message;
