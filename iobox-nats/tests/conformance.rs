//! Certifies the publisher against a real server, behind a line that can be muted and cut.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real servers wait on the machine's clock"
)]

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Limits, Topic},
    publisher::Durability,
};
use iobox_nats::JetStreamPublisher;
use iobox_testkit::{
    broker::{Harness, Stored},
    servers::{Cable, Nats},
};
use support::{place::Place, server};

struct JetStream {
    publisher: Arc<JetStreamPublisher>,
    place: Place,
    cable: Cable,
    _server: Arc<Nats>,
}

impl JetStream {
    fn connect(place: &Place, cable: &Cable) -> Arc<JetStreamPublisher> {
        let config = place
            .config_at(&format!("nats://{}", cable.address()))
            // Shorter than by default, so that a mute line costs little of the tests' time.
            .ack_timeout(Duration::from_secs(2))
            .connect_timeout(Duration::from_secs(2))
            .build();
        Arc::new(JetStreamPublisher::new(config.expect("a configuration")))
    }
}

#[async_trait]
impl Harness for JetStream {
    type Publisher = JetStreamPublisher;

    const DURABILITY: Durability = Durability::PageCache;
    const ABSORBS_DUPLICATES: bool = true;
    const KEEPS_HEADER_ORDER: bool = false;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = Some(2 * 1024 * 1024);
    const REFUSES_TOPICS: bool = false;
    const CAN_BE_CUT: bool = true;

    fn adapter() -> Option<String> {
        Some(String::from("JetStreamPublisher"))
    }

    async fn server() -> Option<String> {
        let server = server::large().await;
        Some(format!("{} {}", server.name(), server.version()))
    }

    async fn fresh() -> Self {
        let server = server::large().await;
        let place = Place::at(server.url()).await;
        let cable = Cable::to(server::address(&server)).await.expect("a cable");
        Self {
            publisher: Self::connect(&place, &cable),
            place,
            cable,
            _server: server,
        }
    }

    fn publisher(&self) -> &Arc<JetStreamPublisher> {
        &self.publisher
    }

    async fn another(&self) -> Result<Arc<JetStreamPublisher>> {
        Ok(Self::connect(&self.place, &self.cable))
    }

    async fn stored(&self) -> Vec<Stored> {
        self.place.stored().await
    }

    async fn refuse(&self, _: &Topic) {}

    async fn mute(&self) {
        self.cable.mute();
    }

    async fn cut(&self) {
        self.cable.cut().await;
    }

    async fn mend(&self) {
        self.cable.mend();
    }
}

iobox_testkit::broker_suite!(JetStream);
