//! The source against real servers.

mod anew;
mod foreign;
mod group;
mod lost;
mod outage;
mod probe;
mod secrets;
mod shared;
mod topics;

use iobox_core::inbox::SourceName;
use iobox_redis::{RedisSource, RedisSourceBuilder};

use crate::support::Place;

/// The topic that most tests use.
const TOPIC: &str = "orders.created";

fn builder(place: &Place) -> RedisSourceBuilder {
    let config = place.config().build().expect("a configuration");
    RedisSource::builder(config, SourceName::new("tests").expect("a name"))
}

/// An ordered source of one topic.
fn source(place: &Place) -> RedisSource {
    builder(place).topic(TOPIC).build().expect("a source")
}

/// Adds entries of another program under these ids.
async fn add(place: &Place, ids: &[&str]) {
    for id in ids {
        place
            .ask(&format!("XADD {}{TOPIC} {id} data {id}", place.prefix))
            .await;
    }
}

/// What was read, as the payloads of [`add`].
fn payloads(read: &iobox_testkit::source::support::Read) -> Vec<String> {
    let payloads = read.deliveries.iter().map(|one| one.message().payload());
    payloads
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect()
}
