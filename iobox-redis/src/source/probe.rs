//! The probe: whether the streams can be read, asked without changing anything.

use std::time::Duration;

use iobox_core::{Result, source::Order};
use redis::Cmd;

use super::{command, entry::EntryId, line::Line, stream::Stream, whole::Settings};
use crate::error;

/// A group that nobody has: sources have no `$` in their names.
const NO_GROUP: &str = "$probe";

/// Asks the server whether the source can be read.
///
/// # Errors
/// As for [`Source::probe`](iobox_core::source::Source::probe).
pub(super) async fn probe(settings: &Settings, line: &Line) -> Result<()> {
    if let Some(objection) = line.facts().objection() {
        tracing::warn!(
            source = %settings.name,
            "{objection}; until then what the server forgets before it is read IS LOST"
        );
    }
    line.look(settings.streams.iter()).await?;
    for stream in &settings.streams {
        let (names, commands): (Vec<_>, Vec<_>) = rehearsals(settings.order, stream).unzip();
        for (name, reply) in names.iter().zip(line.ask_all(commands).await?) {
            // The group is not there, which is found last.
            if let Err(refused) = reply
                && !refused
                    .code()
                    .is_some_and(|code| code == "NOGROUP" || code == "ERR")
            {
                let key = &stream.key;
                let what = format!("Redis refuses {name} of the stream {key}");
                return Err(error::read(&what, &refused));
            }
        }
    }
    Ok(())
}

/// Every command that a reader needs, by name, so that none of them has an effect.
fn rehearsals(order: Order, stream: &Stream) -> impl Iterator<Item = (&'static str, Cmd)> {
    let (key, nobody) = (stream.key.as_str(), (NO_GROUP, NO_GROUP));
    let one = [(key, EntryId::MAX)];
    let new = [(key, None)];
    let idle = Duration::from_secs(1);
    // An id that is none is refused before anything is made.
    let mut make = redis::cmd("XGROUP");
    make.arg("CREATE").arg(key).arg(NO_GROUP).arg("none");
    let commands = match order {
        Order::Stream => vec![
            ("xread", command::read(1, Duration::ZERO, one.into_iter())),
            (
                "xgroup|setid",
                command::move_group(key, NO_GROUP, EntryId::ZERO, None),
            ),
            ("xgroup|create", make),
        ],
        _ => vec![
            (
                "xreadgroup",
                command::read_group(nobody, 1, Duration::ZERO, new.into_iter()),
            ),
            (
                "xautoclaim",
                command::claim(key, nobody, idle, EntryId::ZERO, 1),
            ),
            ("xack", command::ack(key, NO_GROUP, &[EntryId::ZERO])),
            ("xpending", command::pending(key, nobody)),
            ("xgroup|delconsumer", command::remove_consumer(key, nobody)),
            ("xgroup|create", make),
        ],
    };
    commands.into_iter()
}
