//! Errors: one table from the codes of the server to what becomes of a message.
//!
//! What the server says in its own words is never passed on: it quotes the arguments of commands
//! that it does not know, and those may be credentials or parts of a message.

use std::{error::Error as _, io, sync::Arc};

use iobox_core::{Error, publisher::PublishError};
use redis::RedisError;

/// Whom an answer of the server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// This message, for now: another may go through.
    Message,
    /// This message, for ever.
    Never,
    /// The server as a whole, for now.
    Server,
    /// The server as a whole, until a person changes something.
    Setup,
}

/// Each code with what it is about and what a person can do. The first row that fits holds: its
/// code, and words of the answer where there are some.
const TABLE: &[(&str, &str, About, &str)] = &[
    (
        "OOM",
        "",
        About::Server,
        "the server is at its maxmemory: raise it, or trim streams",
    ),
    (
        "LOADING",
        "",
        About::Server,
        "the server is loading its data",
    ),
    (
        "BUSY",
        "",
        About::Server,
        "the server is busy running a script",
    ),
    (
        "UNKILLABLE",
        "",
        About::Server,
        "the server is busy running a script",
    ),
    (
        "MISCONF",
        "",
        About::Server,
        "the server cannot write to its disk: look at its log",
    ),
    (
        "NOREPLICAS",
        "",
        About::Server,
        "the server has too few replicas that keep up",
    ),
    (
        "MASTERDOWN",
        "",
        About::Server,
        "the server has lost its primary",
    ),
    ("CLUSTERDOWN", "", About::Server, "the cluster is down"),
    ("TRYAGAIN", "", About::Server, "the cluster is moving keys"),
    (
        "READONLY",
        "",
        About::Setup,
        "the server is a replica: point the URL at the primary",
    ),
    (
        "MOVED",
        "",
        About::Setup,
        "the server is a node of a cluster, which is not supported",
    ),
    (
        "ASK",
        "",
        About::Setup,
        "the server is a node of a cluster, which is not supported",
    ),
    (
        "CROSSSLOT",
        "",
        About::Setup,
        "the server is a node of a cluster, which is not supported",
    ),
    (
        "NOAUTH",
        "",
        About::Setup,
        "the server asks for a login: put user and password into the URL",
    ),
    (
        "WRONGPASS",
        "",
        About::Setup,
        "the server refuses user or password",
    ),
    (
        "DENIED",
        "",
        About::Setup,
        "the server is in protected mode: give it a password",
    ),
    (
        "NOPROTO",
        "",
        About::Setup,
        "the server is too old: Redis 6.2 or later is needed",
    ),
    (
        "NOPERM",
        "to access",
        About::Message,
        "the user may not write to the stream of this topic",
    ),
    (
        "NOPERM",
        "",
        About::Setup,
        "the user may not run this command",
    ),
    (
        "WRONGTYPE",
        "",
        About::Message,
        "the key of this topic's stream holds something else: rename that",
    ),
    (
        "NOGROUP",
        "",
        About::Server,
        "the consumer group is gone: it is made again",
    ),
    (
        "UNBLOCKED",
        "",
        About::Server,
        "the stream was deleted while it was read",
    ),
    // The server ends the connection besides.
    (
        "ERR",
        "Protocol error",
        About::Never,
        "the server takes no strings of this length",
    ),
    (
        "ERR",
        "max number of clients",
        About::Server,
        "the server has too many clients",
    ),
    (
        "ERR",
        "unknown command",
        About::Setup,
        "the server does not know the command: Redis 6.2 or later is needed",
    ),
    (
        "ERR",
        "DB index",
        About::Setup,
        "the server has no database of this number",
    ),
    (
        "ERR",
        "invalid DB",
        About::Setup,
        "the server has no database of this number",
    ),
    (
        "ERR",
        "wrong number of arguments",
        About::Setup,
        "the server is too old: Redis 6.2 or later is needed",
    ),
];

/// The longest code that is shown; the server chooses it.
const CODE_MAX: usize = 32;

/// What the server answered, with whom it is about.
fn answer(error: &RedisError) -> Option<(About, String)> {
    let code = error.code()?;
    let detail = error.detail().unwrap_or_default();
    let known = TABLE
        .iter()
        .find(|(name, words, ..)| fits(code, detail, name, words));
    if let Some((name, _, about, advice)) = known {
        return Some((*about, format!("{name}: {advice}")));
    }
    let is_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let shown = if code.len() <= CODE_MAX && code.chars().all(is_code) {
        code
    } else {
        "an error"
    };
    let reason = format!("the server refuses the message with {shown}");
    Some((About::Message, reason))
}

/// Whether an answer is the one of a row.
///
/// The words of an `ERR` stand first: arguments that the server quotes come behind them, and may say
/// anything. Those of a `NOPERM` stand behind the name of the user, which has no blanks.
fn fits(code: &str, detail: &str, name: &str, words: &str) -> bool {
    code == name
        && match name {
            "ERR" => detail.starts_with(words),
            _ => detail.contains(words),
        }
}

/// What becomes of a message that was sent and got this error.
pub(crate) fn published(error: &RedisError) -> PublishError {
    match answer(error) {
        Some((About::Message, reason)) => PublishError::Transient(reason),
        Some((About::Never, reason)) => PublishError::Permanent(reason),
        Some((About::Server | About::Setup, reason)) => PublishError::Unavailable(reason),
        None => PublishError::Unknown(format!("no reply: {}", broken(error))),
    }
}

/// Whether the connection is of no more use after this error.
///
/// After some answers another connection may lead to a better server, or log in anew.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            "READONLY" | "NOAUTH" | "WRONGPASS" | "MASTERDOWN" | "MOVED"
        ),
        None => true,
    }
}

/// What a try to connect, or a question to the server, came to.
pub(crate) fn asked(what: &str, error: &RedisError) -> Error {
    match answer(error) {
        Some((About::Server, reason)) => Error::unavailable(format!("{what}: {reason}")),
        Some((_, reason)) => Error::invalid(format!("{what}: {reason}")),
        None if is_setup(error) => Error::invalid(format!("{what}: {}", broken(error))),
        None => Error::unavailable(format!("{what}: {}", broken(error))),
    }
}

/// The same of a reader, whose rights are others.
pub(crate) fn read(what: &str, error: &RedisError) -> Error {
    if error.code() == Some("NOPERM") {
        let reason = "NOPERM: the user may not run the command, or not on this key";
        return Error::invalid(format!("{what}: {reason}"));
    }
    asked(what, error)
}

/// The same as the outcome of a message that was not sent.
pub(crate) fn not_sent(error: &Error) -> PublishError {
    PublishError::Unavailable(format!("not sent: {error}"))
}

/// Whether a connection cannot be made until a person changes something.
fn is_setup(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        redis::ErrorKind::AuthenticationFailed
            | redis::ErrorKind::InvalidClientConfig
            | redis::ErrorKind::RESP3NotSupported
    ) || is_tls(error)
}

/// Whether TLS has found fault with the other side, which rustls reports as invalid data.
fn is_tls(error: &RedisError) -> bool {
    // The driver hands out what it shares, and not what is in it.
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    error
        .source()
        .and_then(|source| source.downcast_ref::<Shared>())
        .and_then(|shared| shared.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// What went wrong without an answer of the server, in words of our own.
fn broken(error: &RedisError) -> &'static str {
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => "the server refuses user or password",
        redis::ErrorKind::RESP3NotSupported => {
            "the server is too old: Redis 6.2 or later is needed"
        }
        redis::ErrorKind::InvalidClientConfig => "the connection cannot be set up as configured",
        redis::ErrorKind::Parse => "the reply cannot be read: is this a Redis server?",
        redis::ErrorKind::Io if is_tls(error) => {
            "TLS fails: the server's certificate is not for this host or not from an authority that \
             this machine trusts, or the server speaks no TLS"
        }
        redis::ErrorKind::Io if error.is_timeout() => "it takes too long",
        redis::ErrorKind::Io if error.is_connection_refusal() => "the connection is refused",
        redis::ErrorKind::Io if error.is_connection_dropped() => "the connection has ended",
        redis::ErrorKind::Io => "the network fails",
        _ => "the client fails",
    }
}

#[cfg(test)]
mod tests {
    use iobox_core::ErrorKind;

    use super::*;

    fn server(line: &str) -> RedisError {
        let (code, detail) = line.split_once(' ').unwrap_or((line, ""));
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    fn class(outcome: &PublishError) -> &'static str {
        match outcome {
            PublishError::Transient(_) => "transient",
            PublishError::Permanent(_) => "permanent",
            PublishError::Unavailable(_) => "unavailable",
            PublishError::Unknown(_) => "unknown",
        }
    }

    /// What the servers say, word for word, and what becomes of the message.
    const ANSWERS: &[(&str, &str, &str)] = &[
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "unavailable",
            "raise it",
        ),
        (
            "LOADING Redis is loading the dataset in memory",
            "unavailable",
            "loading",
        ),
        (
            "BUSY Redis is busy running a script.",
            "unavailable",
            "script",
        ),
        (
            "UNKILLABLE Sorry the script already executed write commands",
            "unavailable",
            "script",
        ),
        (
            "MISCONF Errors writing to the AOF file: No space left",
            "unavailable",
            "its disk",
        ),
        (
            "NOREPLICAS Not enough good replicas to write.",
            "unavailable",
            "replicas",
        ),
        (
            "MASTERDOWN Link with MASTER is down",
            "unavailable",
            "primary",
        ),
        (
            "CLUSTERDOWN Hash slot not served",
            "unavailable",
            "cluster is down",
        ),
        (
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "unavailable",
            "moving keys",
        ),
        (
            "READONLY You can't write against a read only replica.",
            "unavailable",
            "primary",
        ),
        (
            "MOVED 3999 127.0.0.1:6381",
            "unavailable",
            "node of a cluster",
        ),
        (
            "ASK 3999 127.0.0.1:6381",
            "unavailable",
            "node of a cluster",
        ),
        (
            "CROSSSLOT Keys in request don't hash to the same slot",
            "unavailable",
            "cluster",
        ),
        (
            "NOAUTH Authentication required.",
            "unavailable",
            "asks for a login",
        ),
        (
            "WRONGPASS invalid username-password pair",
            "unavailable",
            "refuses user",
        ),
        (
            "DENIED Redis is running in protected mode",
            "unavailable",
            "protected mode",
        ),
        (
            "NOPROTO unsupported protocol version",
            "unavailable",
            "too old",
        ),
        (
            "NOPERM this user has no permissions to run the 'xadd' command",
            "unavailable",
            "may not run",
        ),
        (
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            "transient",
            "may not write",
        ),
        (
            "NOPERM No permissions to access a key",
            "transient",
            "may not write",
        ),
        (
            "NOPERM User app has no permissions to access the 'x' key",
            "transient",
            "may not write",
        ),
        (
            "NOPERM User monkey has no permissions to run the 'xadd' command",
            "unavailable",
            "may not run",
        ),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "transient",
            "something else",
        ),
        (
            "NOGROUP No such key 'secret' or consumer group 'secret'",
            "unavailable",
            "made again",
        ),
        (
            "UNBLOCKED the stream key no longer exists",
            "unavailable",
            "was deleted",
        ),
        (
            "ERR Protocol error: invalid bulk length",
            "permanent",
            "this length",
        ),
        (
            "ERR max number of clients reached",
            "unavailable",
            "too many clients",
        ),
        (
            "ERR unknown command 'XADD', with args beginning with: 'secret'",
            "unavailable",
            "6.2",
        ),
        (
            "ERR unknown command 'XADD', with args beginning with: 'id' 'Protocol error'",
            "unavailable",
            "does not know",
        ),
        ("ERR DB index is out of range", "unavailable", "no database"),
        (
            "ERR wrong number of arguments for 'xadd' command",
            "unavailable",
            "6.2",
        ),
        ("ERR something new about 'secret'", "transient", "with ERR"),
        ("THROTTLED secret", "transient", "with THROTTLED"),
        ("secret", "transient", "with an error"),
    ];

    #[test]
    fn each_answer_of_a_server_has_its_class_and_shows_nothing_of_the_message() {
        for (line, expected, says) in ANSWERS {
            let outcome = published(&server(line));
            let text = outcome.to_string();
            assert_eq!(class(&outcome), *expected, "{line}: {text}");
            assert!(text.contains(says), "{line}: {text}");
            assert!(!text.contains("secret"), "{line}: {text}");
        }
    }

    #[test]
    fn each_row_of_the_table_has_an_answer() {
        for (name, words, ..) in TABLE.iter().filter(|row| row.1 != "invalid DB") {
            let has = ANSWERS.iter().any(|(line, ..)| {
                let (code, detail) = line.split_once(' ').unwrap_or((line, ""));
                fits(code, detail, name, words)
            });
            assert!(has, "{name} {words}");
        }
    }

    #[test]
    fn the_page_of_errors_says_the_same() {
        let row = |(code, word, about, advice): &(&str, &str, About, &str)| {
            let becomes = match about {
                About::Message => "transient",
                About::Never => "permanent",
                About::Server | About::Setup => "unavailable",
            };
            let asked = match about {
                About::Server => "unavailable",
                _ => "invalid",
            };
            let code = format!("{code} {word}");
            format!("| {} | {becomes} | {asked} | {advice} |\n", code.trim_end())
        };
        let rows: String = TABLE.iter().map(row).collect();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let page = std::fs::read_to_string(page).expect("the page");
        assert!(page.contains(&rows), "docs/errors.md should have:\n{rows}");
    }

    #[test]
    fn an_error_without_an_answer_is_unknown() {
        for kind in [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::TimedOut,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::Other,
        ] {
            let error = RedisError::from(io::Error::new(kind, "secret"));
            let outcome = published(&error);
            assert_eq!(class(&outcome), "unknown", "{outcome}");
            assert!(!outcome.to_string().contains("secret"), "{outcome}");
            assert!(ends_connection(&error));
        }
        let garbled = RedisError::from((redis::ErrorKind::Parse, "secret"));
        assert_eq!(class(&published(&garbled)), "unknown");
        assert!(ends_connection(&garbled));
    }

    #[test]
    fn an_answer_about_a_message_keeps_the_connection() {
        for line in ["WRONGTYPE x", "OOM x", "NOPERM x", "ERR x"] {
            assert!(!ends_connection(&server(line)), "{line}");
        }
        for line in ["READONLY x", "NOAUTH x"] {
            assert!(ends_connection(&server(line)), "{line}");
        }
    }

    #[test]
    fn a_question_tells_whether_a_person_is_needed() {
        for (line, kind) in [
            ("LOADING x", ErrorKind::Unavailable),
            ("OOM x", ErrorKind::Unavailable),
            ("MISCONF x", ErrorKind::Unavailable),
            ("NOAUTH x", ErrorKind::Invalid),
            ("WRONGPASS x", ErrorKind::Invalid),
            ("NOPERM x", ErrorKind::Invalid),
            ("READONLY x", ErrorKind::Invalid),
            ("MOVED 1 x", ErrorKind::Invalid),
        ] {
            assert_eq!(asked("q", &server(line)).kind(), kind, "{line}");
        }
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(asked("q", &refused).kind(), ErrorKind::Unavailable);
        let login = RedisError::from((redis::ErrorKind::AuthenticationFailed, "secret"));
        let certificate = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, "secret"));
        let certificate = asked("q", &certificate);
        assert_eq!(certificate.kind(), ErrorKind::Invalid);
        assert!(certificate.to_string().contains("TLS fails"));
        let login = asked("q", &login);
        assert_eq!(login.kind(), ErrorKind::Invalid);
        assert!(!login.to_string().contains("secret"));
    }
}
