//! Certifies the source against a real server, for each way in which a stream keeps its entries.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream::RetentionPolicy;
use async_trait::async_trait;
use iobox_core::{Result, message::Message, source::Source as _};
use iobox_nats::JetStreamSource;
use iobox_testkit::{
    servers::{Cable, Nats},
    source::Harness,
};

use crate::{
    desk::{Desk, RETENTIONS, publish_raw, source, start},
    support::server,
};

/// A source of a stream whose retention has this place in [`RETENTIONS`].
struct Reading<const RETENTION: usize> {
    source: Arc<JetStreamSource>,
    desk: Desk,
    cable: Cable,
    server: Arc<Nats>,
}

impl<const RETENTION: usize> Reading<RETENTION> {
    fn connect(desk: &Desk, cable: &Cable) -> Arc<JetStreamSource> {
        let config = desk
            .config_at(&format!("nats://{}", cable.address()))
            // Shorter than by default, so that a mute line costs little of the tests' time.
            .silence(Duration::from_secs(1))
            .ack_timeout(Duration::from_secs(2));
        Arc::new(source(config))
    }

    /// Makes an interest stream keep what is published from now on, as it does once it was read.
    async fn interest(&self) {
        if RETENTIONS[RETENTION] == RetentionPolicy::Interest {
            let opened = self.desk.source().open(&start(None, 0, 1)).await;
            opened.expect("a reader").close().await;
        }
    }
}

#[async_trait]
impl<const RETENTION: usize> Harness for Reading<RETENTION> {
    type Source = JetStreamSource;

    const KEEPS_HEADER_ORDER: bool = false;
    const ONE_ORDER: bool = true;
    const TAKES_FOREIGN: bool = true;
    const CAN_BE_TRIMMED: bool = true;
    const CAN_BE_REMADE: bool = true;
    const CAN_BE_CUT: bool = true;

    fn adapter() -> Option<String> {
        let retention = ["limits", "interest", "a work queue"][RETENTION];
        Some(format!("JetStreamSource, a stream with {retention}"))
    }

    async fn server() -> Option<String> {
        let server = server::large().await;
        Some(format!("{} {}", server.name(), server.version()))
    }

    async fn fresh() -> Self {
        let server = server::large().await;
        let desk = Desk::of(server.url(), RETENTIONS[RETENTION]).await;
        let cable = Cable::to(server::address(&server)).await.expect("a cable");
        let reading = Self {
            source: Self::connect(&desk, &cable),
            desk,
            cable,
            server,
        };
        reading.interest().await;
        reading
    }

    fn source(&self) -> &Arc<JetStreamSource> {
        &self.source
    }

    async fn another(&self) -> Result<Arc<JetStreamSource>> {
        Ok(Self::connect(&self.desk, &self.cable))
    }

    async fn publish(&self, messages: &[Message]) {
        self.desk.publish_all(messages).await;
    }

    async fn foreign(&self, payload: &[u8]) {
        let subject = format!("{}.orders.created", self.desk.place.name);
        publish_raw(server::address(&self.server), &subject, None, payload).await;
    }

    async fn trim(&self, keep: usize) {
        let stream = self.desk.place.context.get_stream(&self.desk.place.name);
        let stream = stream.await.expect("a stream");
        let keep = u64::try_from(keep).expect("a count");
        stream.purge().keep(keep).await.expect("a purge");
    }

    async fn remake(&self) {
        let config = self.desk.place.info().await.config;
        let deleted = self.desk.place.context.delete_stream(&config.name).await;
        deleted.expect("a deletion");
        self.desk.place.make(config).await;
        self.interest().await;
    }

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

mod limits {
    use super::Reading;

    iobox_testkit::source_suite!(Reading<0>);
}

mod interest {
    use super::Reading;

    iobox_testkit::source_suite!(Reading<1>);
}

mod work_queue {
    use super::Reading;

    iobox_testkit::source_suite!(Reading<2>);
}
