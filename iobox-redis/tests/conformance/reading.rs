//! The suite of sources: read in order, and by many at once.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{Result, inbox::SourceName, message::Message};
use iobox_redis::{Config, RedisPublisher, RedisSource};
use iobox_testkit::{
    broker::support,
    source::{Harness, support::TOPICS},
    suite::support::PATIENCE,
};

use crate::place::Place;

/// The rights that the crate's page names for an ordered source, behind those to keys.
const ORDERED: &str =
    "+xread +xinfo|stream +xgroup|setid +xgroup|create +time +info +role +config|get";
/// The same for one without an order.
const UNORDERED: &str = "+xreadgroup +xautoclaim +xack +xpending +xinfo|stream +xgroup|create \
                         +xgroup|delconsumer +time +info +role +config|get";

/// Streams on the shared server; `FEW` when their reader has few rights.
struct Streams<const ORDER: bool, const FEW: bool> {
    source: Arc<RedisSource>,
    publisher: RedisPublisher,
    place: Place,
}

impl<const ORDER: bool, const FEW: bool> Streams<ORDER, FEW> {
    fn made(config: &Config) -> Arc<RedisSource> {
        let name = SourceName::new("suite").expect("a name");
        let builder =
            RedisSource::builder(config.clone(), name).claim_after(Duration::from_secs(1));
        let builder = TOPICS
            .iter()
            .fold(builder, |builder, topic| builder.topic(*topic));
        let builder = if ORDER { builder } else { builder.unordered() };
        Arc::new(builder.build().expect("a source"))
    }

    fn key(&self, topic: &str) -> String {
        format!("{}{topic}", self.place.prefix)
    }

    async fn ask(&self, command: &[&str]) {
        let asked = self.place.reader.ask(command).await;
        asked.expect("a command past the line");
    }
}

#[async_trait]
impl<const ORDER: bool, const FEW: bool> Harness for Streams<ORDER, FEW> {
    type Source = RedisSource;

    const KEEPS_HEADER_ORDER: bool = true;
    const ONE_ORDER: bool = false;
    const TAKES_FOREIGN: bool = true;
    // Who reads beside others does not know what nobody was given.
    const CAN_BE_TRIMMED: bool = ORDER;
    const CAN_BE_REMADE: bool = true;
    const CAN_BE_CUT: bool = true;

    fn adapter() -> Option<String> {
        let order = if ORDER { "in order" } else { "unordered" };
        let user = if FEW {
            "a user with few rights"
        } else {
            "administrator"
        };
        Some(format!("RedisSource, {order}, {user}"))
    }

    async fn server() -> Option<String> {
        Some(crate::place::server_name())
    }

    async fn fresh() -> Self {
        let rights = if ORDER { ORDERED } else { UNORDERED };
        let place = Place::fresh(FEW.then_some(rights)).await;
        let past = Config::builder(&place.url).prefix(&place.prefix).build();
        Self {
            source: Self::made(&place.config),
            publisher: RedisPublisher::new(past.expect("a configuration")),
            place,
        }
    }

    fn source(&self) -> &Arc<RedisSource> {
        &self.source
    }

    async fn another(&self) -> Result<Arc<RedisSource>> {
        Ok(Self::made(&self.place.config))
    }

    async fn publish(&self, messages: &[Message]) {
        // One after the other: a batch has no order, since a relay has one of a key on its way.
        for one in messages.chunks(1) {
            let outcomes = support::publish(&self.publisher, one).await;
            assert!(outcomes.iter().all(Result::is_ok));
        }
    }

    async fn foreign(&self, payload: &[u8]) {
        let client = redis::Client::open(self.place.url.as_str()).expect("a client");
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let mut client = client
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .expect("a connection");
        let mut command = redis::cmd("XADD");
        command
            .arg(self.key(TOPICS[0]))
            .arg("*")
            .arg("data")
            .arg(payload);
        let added: redis::RedisResult<String> = command.query_async(&mut client).await;
        added.expect("an entry");
    }

    async fn trim(&self, keep: usize) {
        self.ask(&["XTRIM", &self.key(TOPICS[0]), "MAXLEN", &keep.to_string()])
            .await;
    }

    async fn remake(&self) {
        for topic in TOPICS {
            self.ask(&["DEL", &self.key(topic)]).await;
        }
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
    mod ordered {
        use super::super::*;

        iobox_testkit::source_suite!(Streams<true, false>);
    }

    mod unordered {
        use super::super::*;

        iobox_testkit::source_suite!(Streams<false, false>);
    }
}

mod few_rights {
    mod ordered {
        use super::super::*;

        iobox_testkit::source_suite!(Streams<true, true>);
    }

    mod unordered {
        use super::super::*;

        iobox_testkit::source_suite!(Streams<false, true>);
    }
}
