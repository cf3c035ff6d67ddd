//! The note: a plain handler, whose effect is outside of the database.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use iobox::{
    handler::{Handler, HandlerError},
    message::Message,
};

use super::orders::Orders;
use crate::{gauge::Gauge, log::Log, say};

/// Appends each message to the log. The order `noted` holds it for ever between that and its end.
#[derive(Debug)]
pub(crate) struct Note {
    log: Arc<Log>,
    orders: Orders,
    gauge: Gauge,
}

impl Note {
    pub(crate) const fn new(log: Arc<Log>, orders: Orders, gauge: Gauge) -> Self {
        Self { log, orders, gauge }
    }
}

#[async_trait]
impl Handler for Note {
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        let _held = self.gauge.hold(1);
        let logged = self.log.append([message].into_iter());
        logged.map_err(|error| HandlerError::from(error.to_string()))?;
        if self.orders.take("noted") {
            say(&format!("NOTED {}", message.id()));
            pending::<()>().await;
        }
        Ok(())
    }
}
