//! The log of the broker in memory.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::SourceName,
    memory::{MemoryBroker, MemorySource},
    message::Message,
    publisher::{Outcomes, Publisher},
};
use iobox_testkit::source::Harness;

struct Memory(MemoryBroker, Arc<MemorySource>);

#[async_trait]
impl Harness for Memory {
    type Source = MemorySource;

    const KEEPS_HEADER_ORDER: bool = true;
    const ONE_ORDER: bool = true;
    const TAKES_FOREIGN: bool = false;
    const CAN_BE_TRIMMED: bool = false;
    const CAN_BE_REMADE: bool = false;
    const CAN_BE_CUT: bool = false;

    fn adapter() -> Option<String> {
        Some(String::from("MemorySource"))
    }

    async fn fresh() -> Self {
        let broker = MemoryBroker::new();
        let name = SourceName::new("log").expect("a name");
        Self(broker.clone(), Arc::new(broker.source(name)))
    }

    fn source(&self) -> &Arc<MemorySource> {
        &self.1
    }

    async fn another(&self) -> Result<Arc<MemorySource>> {
        Ok(Arc::clone(&self.1))
    }

    async fn publish(&self, messages: &[Message]) {
        let mut outcomes = Outcomes::new(messages.len(), |_, outcome| {
            outcome.expect("it is taken");
        });
        self.0.publish(messages, &mut outcomes).await;
    }

    async fn foreign(&self, _: &[u8]) {}

    async fn trim(&self, _: usize) {}

    async fn remake(&self) {}

    async fn mute(&self) {}

    async fn cut(&self) {}

    async fn mend(&self) {}
}

iobox_testkit::source_suite!(Memory);
