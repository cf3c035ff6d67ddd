//! The consumers of a stream: what is asked of the broker about them.

use std::time::Duration;

use async_nats::jetstream::{Error as ApiError, ErrorCode};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::{
    error::{self, Refusal},
    session::Session,
};

/// The most consumers of a stream that are looked through.
const CONSUMERS_MAX: usize = 100_000;

/// How a consumer is to be.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable_name: Option<String>,
    description: String,
    deliver_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opt_start_seq: Option<u64>,
    ack_policy: &'static str,
    /// In nanoseconds, as every duration of JetStream.
    ack_wait: u64,
    max_deliver: i64,
    max_ack_pending: usize,
    replay_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive_threshold: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_subject: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filter_subjects: Vec<String>,
}

impl Plan {
    /// A consumer that delivers everything, that is kept until somebody deletes it, and whose entries
    /// are acked one by one.
    pub(super) fn new(name: String, filter: &Filter, max_ack_pending: usize) -> Self {
        let (one, several) = match filter.subjects() {
            [] => (None, Vec::new()),
            [one] => (Some(one.clone()), Vec::new()),
            several => (None, several.to_vec()),
        };
        Self {
            durable_name: Some(name.clone()),
            name,
            description: String::from("reads into an inbox of iobox"),
            deliver_policy: "all",
            opt_start_seq: None,
            ack_policy: "explicit",
            ack_wait: 0,
            max_deliver: -1,
            max_ack_pending,
            replay_policy: "instant",
            inactive_threshold: None,
            filter_subject: one,
            filter_subjects: several,
        }
    }

    /// Starts at an entry of the stream.
    pub(super) const fn from(mut self, sequence: u64) -> Self {
        self.deliver_policy = "by_start_sequence";
        self.opt_start_seq = Some(sequence);
        self
    }

    /// Takes an ack for one of all before it too.
    pub(super) const fn ack_all(mut self) -> Self {
        self.ack_policy = "all";
        self
    }

    /// Delivers an entry again that was not acked for so long.
    pub(super) fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = nanoseconds(wait);
        self
    }

    /// Vanishes when nobody used it for so long.
    pub(super) fn forgotten_after(mut self, idle: Duration) -> Self {
        self.durable_name = None;
        self.inactive_threshold = Some(nanoseconds(idle));
        self
    }
}

/// Nothing: the broker takes no other emptiness, and more than nothing in an answer is ignored.
#[derive(Serialize, Deserialize)]
struct Nothing {}

#[derive(Serialize)]
struct Request<'a> {
    stream_name: &'a str,
    config: &'a Plan,
}

#[derive(Serialize)]
struct PageRequest {
    offset: usize,
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<String>>,
}

/// The consumers of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Consumers<'a> {
    pub(super) session: &'a Session,
    pub(super) stream: &'a str,
}

impl Consumers<'_> {
    /// The names of all.
    pub(super) async fn names(&self) -> Result<Vec<String>, Refusal> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let request = PageRequest {
                offset: names.len(),
            };
            let ask = self.session.ask("CONSUMER.NAMES", self.stream, &request);
            let page: Page = ask.await?.map_err(|error| self.refused(&error))?;
            let more = page.consumers.unwrap_or_default();
            let none = more.is_empty();
            names.extend(more);
            if none || names.len() >= page.total {
                return Ok(names);
            }
            if names.len() > CONSUMERS_MAX {
                return Err(Refusal::invalid(format!(
                    "stream {} has more than {CONSUMERS_MAX} consumers: delete those that nobody uses",
                    self.stream
                )));
            }
        }
    }

    /// Makes one; the error is the broker's reason.
    pub(super) async fn create(&self, plan: &Plan) -> Result<Result<(), ApiError>, Refusal> {
        let mut whom = format!("{}.{}", self.stream, plan.name);
        if let Some(subject) = &plan.filter_subject {
            whom = format!("{whom}.{subject}");
        }
        let request = Request {
            stream_name: self.stream,
            config: plan,
        };
        let ask = self
            .session
            .ask::<Nothing>("CONSUMER.CREATE", &whom, &request);
        Ok(ask.await?.map(|Nothing {}| ()))
    }

    /// Deletes one, if it is there.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let whom = format!("{}.{name}", self.stream);
        let ask = self
            .session
            .ask::<Nothing>("CONSUMER.DELETE", &whom, &Nothing {});
        match ask.await? {
            Err(error) if error.error_code() != ErrorCode::CONSUMER_NOT_FOUND => {
                Err(self.refused(&error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn refused(&self, error: &ApiError) -> Refusal {
        error::of_api(error, self.stream)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::SourceConfig;

    #[test]
    fn a_plan_says_what_the_broker_makes() {
        let config = SourceConfig::builder("nats://localhost", "ORDERS", "billing").build();
        let filter = Filter::of(&config.expect("a configuration"));
        let plan = Plan::new(String::from("a"), &filter, 10)
            .from(7)
            .ack_all()
            .ack_wait(Duration::from_secs(60))
            .forgotten_after(Duration::from_secs(1));
        assert_eq!(
            serde_json::to_value(plan).expect("JSON"),
            json!({
                "name": "a",
                "description": "reads into an inbox of iobox",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": 7,
                "ack_policy": "all",
                "ack_wait": 60_000_000_000_u64,
                "max_deliver": -1,
                "max_ack_pending": 10,
                "replay_policy": "instant",
                "inactive_threshold": 1_000_000_000,
                "filter_subject": "iobox.>",
            })
        );
    }
}
