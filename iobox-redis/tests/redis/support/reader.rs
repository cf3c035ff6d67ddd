//! The reader: a client of its own, which reads what the publisher wrote.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::broker::Stored;
use redis::{AsyncConnectionConfig, Client, Value, aio::MultiplexedConnection};

/// The fields that an entry may have.
const FIELDS: [&str; 5] = ["id", "topic", "key", "headers", "payload"];

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// A connection past everything that the publisher uses.
pub(crate) struct Reader {
    client: MultiplexedConnection,
}

/// An entry: its fields in order.
pub(crate) type Entry = Vec<(String, Vec<u8>)>;

impl Reader {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = Client::open(url)?
            .get_multiplexed_async_connection_with_config(&settings)
            .await?;
        Ok(Self { client })
    }

    /// The reply to a command; an error is an error.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = redis::Cmd::new();
        command.arg(arguments);
        Ok(command.query_async(&mut self.client.clone()).await?)
    }

    /// The streams whose names start with `prefix`, sorted.
    pub(crate) async fn streams(&self, prefix: &str) -> Result<Vec<String>> {
        let mut cursor = "0".to_owned();
        let mut found = Vec::new();
        loop {
            let pattern = format!("{prefix}*");
            let arguments = [
                "SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000", "TYPE", "stream",
            ];
            let reply = self.ask(&arguments).await?;
            let (next, keys): (String, Vec<String>) = redis::from_redis_value(reply)?;
            found.extend(keys);
            cursor = next;
            if cursor == "0" {
                found.sort();
                found.dedup();
                return Ok(found);
            }
        }
    }

    /// The entries of a stream, in order.
    pub(crate) async fn entries(&self, stream: &str) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut start = "-".to_owned();
        loop {
            let count = PAGE.to_string();
            let reply = self
                .ask(&["XRANGE", stream, &start, "+", "COUNT", &count])
                .await?;
            let page: Vec<(String, Vec<Vec<u8>>)> = redis::from_redis_value(reply)?;
            let is_last = page.len() < PAGE;
            for (id, texts) in page {
                start = format!("({id}");
                let (pairs, rest) = texts.as_chunks::<2>();
                ensure!(rest.is_empty(), "an entry has a field without a value");
                let pairs = pairs.iter();
                let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                found.push(
                    pairs
                        .map(|[name, value]| (text(name), value.clone()))
                        .collect(),
                );
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Every message in the streams of `prefix`, stream by stream.
    pub(crate) async fn stored(&self, prefix: &str) -> Result<Vec<Stored>> {
        let mut found = Vec::new();
        for stream in self.streams(prefix).await? {
            for entry in self.entries(&stream).await? {
                let stored = decode(entry)?;
                ensure!(stream == format!("{prefix}{}", stored.topic), "{stream}");
                found.push(stored);
            }
        }
        Ok(found)
    }
}

/// Reads an entry as `docs/wire.md` describes it.
pub(crate) fn decode(entry: Entry) -> Result<Stored> {
    let count = entry.len();
    let mut fields: BTreeMap<String, Vec<u8>> = entry.into_iter().collect();
    ensure!(fields.len() == count, "a field is given twice");
    let unknown = fields.keys().find(|name| !FIELDS.contains(&name.as_str()));
    ensure!(unknown.is_none(), "there is no field {unknown:?}");
    let payload = fields.remove("payload").context("no payload")?;
    let mut text = |name: &str| fields.remove(name).map(String::from_utf8).transpose();
    let wire_id = text("id")?.context("no id")?;
    let (origin, id) = wire_id.split_once('/').context("an id without an origin")?;
    let headers = text("headers")?;
    Ok(Stored {
        origin: origin.to_owned(),
        id: id.to_owned(),
        topic: text("topic")?.context("no topic")?,
        key: text("key")?,
        headers: headers.map_or(Ok(Vec::new()), |json| serde_json::from_str(&json))?,
        payload,
    })
}
