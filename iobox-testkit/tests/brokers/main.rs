//! Certifies the broker in memory, alone and behind a line that can be cut.
//!
//! The second harness makes a broker that refuses and a line that breaks, so that every half of
//! every case is run against something that keeps its word. `broken` runs cases against publishers
//! that do not.

mod broken;
mod far;

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Result,
    memory::MemoryBroker,
    message::{Limits, Topic},
    publisher::Durability,
};
use iobox_testkit::broker::{Harness, Stored};

struct Memory(Arc<MemoryBroker>);

#[async_trait]
impl Harness for Memory {
    type Publisher = MemoryBroker;

    const DURABILITY: Durability = Durability::Volatile;
    const ABSORBS_DUPLICATES: bool = true;
    const KEEPS_HEADER_ORDER: bool = true;
    const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
    const PAYLOAD_REFUSED: Option<usize> = None;
    const REFUSES_TOPICS: bool = false;
    const CAN_BE_CUT: bool = false;

    fn adapter() -> Option<String> {
        Some(String::from("MemoryBroker"))
    }

    async fn fresh() -> Self {
        Self(Arc::new(MemoryBroker::new()))
    }

    fn publisher(&self) -> &Arc<MemoryBroker> {
        &self.0
    }

    async fn another(&self) -> Result<Arc<MemoryBroker>> {
        Ok(Arc::clone(&self.0))
    }

    async fn stored(&self) -> Vec<Stored> {
        let log = self.0.read(0, usize::MAX);
        log.iter().map(|one| Stored::of(&one.message)).collect()
    }

    async fn refuse(&self, _: &Topic) {}
    async fn mute(&self) {}
    async fn cut(&self) {}
    async fn mend(&self) {}
}

mod memory {
    use super::*;

    iobox_testkit::broker_suite!(Memory);
}

mod linked {
    use super::*;

    iobox_testkit::broker_suite!(far::Linked<0>);
}
