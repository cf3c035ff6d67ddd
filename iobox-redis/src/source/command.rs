//! The commands: all that a reader asks of the server.

use std::time::Duration;

use redis::Cmd;

use super::entry::EntryId;

/// What the server tells of a stream.
pub(super) fn info(key: &str) -> Cmd {
    let mut command = redis::cmd("XINFO");
    command.arg("STREAM").arg(key);
    command
}

/// The server's clock.
pub(super) fn time() -> Cmd {
    redis::cmd("TIME")
}

/// Reads at most `count` entries of each stream behind an id, and waits for the first if told to.
pub(super) fn read<'a>(
    count: usize,
    wait: Duration,
    streams: impl Iterator<Item = (&'a str, EntryId)> + Clone,
) -> Cmd {
    let mut command = redis::cmd("XREAD");
    options(&mut command, count, wait);
    for (key, _) in streams.clone() {
        command.arg(key);
    }
    for (_, id) in streams {
        command.arg(id.to_string());
    }
    command
}

/// Reads for a consumer of a group: behind an id what it was given before, else what nobody was.
pub(super) fn read_group<'a>(
    (group, consumer): (&str, &str),
    count: usize,
    wait: Duration,
    streams: impl Iterator<Item = (&'a str, Option<EntryId>)> + Clone,
) -> Cmd {
    let mut command = redis::cmd("XREADGROUP");
    command.arg("GROUP").arg(group).arg(consumer);
    options(&mut command, count, wait);
    for (key, _) in streams.clone() {
        command.arg(key);
    }
    for (_, id) in streams {
        command.arg(id.map_or_else(|| ">".to_owned(), |id| id.to_string()));
    }
    command
}

/// `BLOCK 0` would wait for ever, so it is left out.
fn options(command: &mut Cmd, count: usize, wait: Duration) {
    command.arg("COUNT").arg(count);
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    if ms > 0 {
        command.arg("BLOCK").arg(ms);
    }
    command.arg("STREAMS");
}

/// Takes over what was given to a consumer and not acked for `idle`, from an id on.
pub(super) fn claim(
    key: &str,
    (group, consumer): (&str, &str),
    idle: Duration,
    from: EntryId,
    count: usize,
) -> Cmd {
    let mut command = redis::cmd("XAUTOCLAIM");
    let ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    command.arg(key).arg(group).arg(consumer).arg(ms);
    command.arg(from.to_string()).arg("COUNT").arg(count);
    command
}

/// Acks entries.
pub(super) fn ack(key: &str, group: &str, ids: &[EntryId]) -> Cmd {
    let mut command = redis::cmd("XACK");
    command.arg(key).arg(group);
    for id in ids {
        command.arg(id.to_string());
    }
    command
}

/// Moves a group, with the count of the entries up to there where it is known: the server tells no
/// lag without it.
pub(super) fn move_group(key: &str, group: &str, at: EntryId, added: Option<u64>) -> Cmd {
    let mut command = redis::cmd("XGROUP");
    command.arg("SETID").arg(key).arg(group).arg(at.to_string());
    if let Some(added) = added {
        command.arg("ENTRIESREAD").arg(added);
    }
    command
}

/// Makes a group, of a stream that is there.
pub(super) fn make_group(key: &str, group: &str, at: EntryId, added: Option<u64>) -> Cmd {
    let mut command = redis::cmd("XGROUP");
    command
        .arg("CREATE")
        .arg(key)
        .arg(group)
        .arg(at.to_string());
    if let Some(added) = added {
        command.arg("ENTRIESREAD").arg(added);
    }
    command
}

/// Makes a group that begins with the stream, and the stream if it is not there.
pub(super) fn make_stream(key: &str, group: &str) -> Cmd {
    let mut command = make_group(key, group, EntryId::ZERO, None);
    command.arg("MKSTREAM");
    command
}

/// One entry that a consumer was given and did not ack.
pub(super) fn pending(key: &str, (group, consumer): (&str, &str)) -> Cmd {
    let mut command = redis::cmd("XPENDING");
    command.arg(key).arg(group).arg("-").arg("+").arg(1);
    command.arg(consumer);
    command
}

/// Removes a consumer, and forgets what it was given.
pub(super) fn remove_consumer(key: &str, (group, consumer): (&str, &str)) -> Cmd {
    let mut command = redis::cmd("XGROUP");
    command.arg("DELCONSUMER").arg(key).arg(group).arg(consumer);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_does_not_wait_says_nothing_of_waiting() {
        let text = |wait: u64| {
            let streams = [("a", EntryId::ZERO), ("b", EntryId::ZERO)];
            let command = read(7, Duration::from_micros(wait), streams.into_iter());
            let arguments = command.args_iter().map(|argument| match argument {
                redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            });
            arguments.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(999), "XREAD COUNT 7 STREAMS a b 0-0 0-0");
        assert_eq!(text(1_000), "XREAD COUNT 7 BLOCK 1 STREAMS a b 0-0 0-0");
    }
}
