//! Hostile input: texts and bytes that break parsers, quoting, protocols and terminals, each with what
//! must become of it.
//!
//! Every table is a list of [entries](Entry): an input, and the verdict of core's own constructors.
//! Whoever writes an adapter uses them in three ways:
//!
//! * What core takes ([`messages`], [`drafts`]) must come back from a store, a publisher and a source as
//!   it was. The conformance suites have a case for that, so that an adapter that runs them has done it.
//! * What a constructor of the adapter's own takes from outside (identifiers, prefixes, URLs) is held
//!   against a table by [`judge`]: of [`identifiers`] where names become a part of SQL, or of entries of
//!   the adapter's own.
//! * What a decoder of the adapter reads back ([`stored_headers`], and [`mangled`] of what it wrote) must
//!   be refused without a panic and without being quoted.
//!
//! ```
//! use iobox_core::message::Topic;
//! use iobox_testkit::hostile::{self, Entry};
//!
//! hostile::judge("topic", &hostile::topics(), |text| {
//!     assert_eq!(Topic::new(text)?.as_str(), text);
//!     Ok(())
//! });
//!
//! // Entries of one's own: the text of the error must name the field, say "no scheme", and never hold
//! // `hostile::SECRET`, which stands in the inputs wherever a user might have put a secret.
//! let urls = [Entry::refused("no scheme", "s3cr3t@localhost", "no scheme")];
//! hostile::judge("servers", &urls, |url: &String| match url.split_once("://") {
//!     Some(_) => Ok(()),
//!     None => Err(iobox_core::Error::invalid("servers: the URL has no scheme")),
//! });
//! ```

mod entry;
mod headers;
mod identifier;
mod judge;
mod limits;
mod mangle;
mod message;
mod name;
mod pattern;
mod payload;
mod position;
mod text;
mod topic;

pub use entry::{Entry, SECRET, Verdict, taken};
pub use headers::{headers, stored_headers};
pub use identifier::identifiers;
pub use judge::{is_plain, judge, texts_of};
pub use limits::{partition_counts, payload_bounds};
pub use mangle::mangled;
pub use message::{drafts, messages, messages_of};
pub use name::names;
pub use pattern::patterns;
pub use payload::payloads;
pub use position::positions;
pub use text::texts;
pub use topic::topics;
