//! The suite of publishers.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Limits, Topic},
    publisher::Durability,
};
use iobox_redis::RedisPublisher;
use iobox_testkit::broker::{Harness, Stored};

use crate::place::Place;

/// The rights that the crate's page names for a publisher, behind those to keys.
const RIGHTS: &str = "+xadd +info +role +config|get";

/// A place on the shared server; `FEW` when its user has few rights.
struct Streams<const FEW: bool> {
    publisher: Arc<RedisPublisher>,
    place: Place,
}

#[async_trait]
impl<const FEW: bool> Harness for Streams<FEW> {
    type Publisher = RedisPublisher;

    const DURABILITY: Durability = Durability::PageCache;
    const ABSORBS_DUPLICATES: bool = false;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = Some(Limits::PAYLOAD_MAX + 1);
    const REFUSES_TOPICS: bool = true;
    const CAN_BE_CUT: bool = true;

    fn adapter() -> Option<String> {
        let user = if FEW {
            "a user with few rights"
        } else {
            "administrator"
        };
        Some(format!("RedisPublisher, {user}"))
    }

    async fn server() -> Option<String> {
        Some(crate::place::server_name())
    }

    async fn fresh() -> Self {
        let place = Place::fresh(FEW.then_some(RIGHTS)).await;
        Self {
            publisher: Arc::new(RedisPublisher::new(place.config.clone())),
            place,
        }
    }

    fn publisher(&self) -> &Arc<RedisPublisher> {
        &self.publisher
    }

    async fn another(&self) -> Result<Arc<RedisPublisher>> {
        Ok(Arc::new(RedisPublisher::new(self.place.config.clone())))
    }

    async fn stored(&self) -> Vec<Stored> {
        self.place
            .reader
            .stored(&self.place.prefix)
            .await
            .expect("streams")
    }

    async fn refuse(&self, topic: &Topic) {
        let key = format!("{}{topic}", self.place.prefix);
        self.place
            .reader
            .ask(&["SET", &key, "a string"])
            .await
            .expect("SET");
    }

    async fn mute(&self) {
        self.place.cable.mute();
    }

    async fn cut(&self) {
        self.place.cable.cut().await;
    }

    async fn mend(&self) {
        self.place.cable.mend();
    }
}

mod administrator {
    use super::*;

    iobox_testkit::broker_suite!(Streams<false>);
}

mod few_rights {
    use super::*;

    iobox_testkit::broker_suite!(Streams<true>);
}
