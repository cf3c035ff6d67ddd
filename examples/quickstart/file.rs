//! The file as a source: reads the JSON lines of the relay from where it stopped.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use iobox::{
    Error, Result,
    inbox::{Delivery, SourceName},
    message::{Headers, Message, OrderingKey, Origin, Topic},
    source::{Batch, Order, Position, Reader, Refused, Room, Source, Start},
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two looks at the end of the file.
const LOOK: Duration = Duration::from_millis(5);

/// A file of JSON lines as a source. Its position is an offset in bytes.
#[derive(Debug, Clone)]
pub(crate) struct JsonLinesSource {
    name: SourceName,
    path: PathBuf,
}

impl JsonLinesSource {
    /// The file at `path`, which may not be there yet.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self {
            name: SourceName::new("shop")?,
            path: path.to_owned(),
        })
    }
}

#[async_trait]
impl Source for JsonLinesSource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn order(&self) -> Order {
        Order::Stream
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let offset = start.position.as_ref().map_or("0", Position::as_str);
        let invalid = |source| Error::corrupt("the position is no offset").with_source(source);
        Ok(Box::new(Lines {
            path: self.path.clone(),
            offset: offset.parse().map_err(invalid)?,
        }))
    }
}

/// A reader of the file.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    offset: u64,
}

impl Lines {
    /// The whole lines behind the offset, as many as there is room for.
    fn read(&mut self, room: Room) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(batch),
            file => BufReader::new(file?),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut line, mut bytes) = (Vec::new(), 0);
        while batch.deliveries.len() < room.messages && bytes < room.bytes {
            line.clear();
            file.read_until(b'\n', &mut line)?;
            // Half a line is still being written, or will be cut off.
            if line.pop() != Some(b'\n') {
                break;
            }
            bytes += line.len();
            match delivery(&line) {
                Ok(delivery) => batch.deliveries.push(delivery),
                Err(error) => batch.refused.push(Refused {
                    place: format!("byte {}", self.offset),
                    reason: error.to_string(),
                }),
            }
            self.offset = file.stream_position()?;
            batch.position = Position::new(self.offset.to_string()).ok();
        }
        Ok(batch)
    }
}

/// The message of a line.
fn delivery(line: &[u8]) -> Result<Delivery> {
    let no_line = |source| Error::invalid("a line is not JSON").with_source(source);
    let line: Value = serde_json::from_slice(line).map_err(no_line)?;
    let text = |name: &str| line[name].as_str();
    let (origin, id) = Origin::read_wire_id(text("id").unwrap_or_default())?;
    let topic = Topic::new(text("topic").unwrap_or_default())?;
    let key = text("key").map(OrderingKey::new).transpose()?;
    let payload = line["payload"].to_string().into();
    let message = Message::new(origin, id, topic, key, Headers::default(), payload);
    Ok(Delivery::new(message))
}

#[async_trait]
impl Reader for Lines {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let end = Instant::now() + room.wait;
        let waited = timeout_at(end, async {
            loop {
                let batch = self.read(room).map_err(|source| {
                    Error::unavailable("the file cannot be read").with_source(source)
                })?;
                if !batch.is_empty() {
                    return Ok(batch);
                }
                sleep(LOOK).await;
            }
        });
        waited.await.unwrap_or_else(|_| Ok(Batch::default()))
    }

    /// A file keeps everything: there is nobody to tell.
    async fn ack(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}
