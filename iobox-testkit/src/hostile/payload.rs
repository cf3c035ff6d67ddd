//! Payloads: bytes that nobody but the application may look into.

use super::Entry;

/// Payloads, all of them taken: what is in them is nobody's business.
///
/// The last are at the default bound of 256 KiB; what lies beyond it the suites have cases for.
#[must_use]
pub fn payloads() -> Vec<Entry<Vec<u8>>> {
    let entry = |name: &str, bytes: Vec<u8>| Entry::taken(name, bytes);
    let text = |name: &str, text: &str| Entry::taken(name, text.as_bytes());
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    vec![
        text("nothing", ""),
        entry("a zero", vec![0]),
        entry("every byte", (0..=255).collect()),
        entry("every byte, backwards", (0..=255).rev().collect()),
        entry("no UTF-8", vec![0xff, 0xfe, 0xc0, 0x80]),
        entry("a cut character", vec![0xe6, 0x97]),
        entry("a lone surrogate in UTF-8", vec![0xed, 0xa0, 0x80]),
        text("a byte order mark", "\u{feff}{}"),
        text("line ends", "\r\n\r\n"),
        text("the end of a PUB", "\r\nPUB $SYS.x 0\r\n\r\n"),
        text("a reply of Redis", "\r\n-ERR no\r\n$-1\r\n*0\r\n"),
        text("the end of a COPY", "\\.\n"),
        text("SQL", "'; drop table message; --"),
        text("bytes of Postgres in hex", "\\x00"),
        text("bytes of Postgres with escapes", "\\000\\\\"),
        text("an ANSI sequence", "\u{1b}[2J\u{1b}]0;title\u{7}"),
        text("markup", "<script>alert(1)</script>"),
        text("a template", "{{7*7}} ${jndi:ldap://x} %n"),
        text("not JSON", "{"),
        text("a lone surrogate in JSON", "\"\\ud800\""),
        text(
            "a number beyond 64 bits",
            "123456789012345678901234567890e400",
        ),
        text("a key twice", "{\"a\":1,\"a\":2}"),
        text("not a number", "NaN"),
        text("base64", "AAECAwQ="),
        entry("a compressed nothing", gzip.into()),
        entry("a deep array", b"[".repeat(100_000)),
        entry("a deep object", b"{\"a\":".repeat(20_000)),
        entry("zeros up to the bound", vec![0; 256 * 1024]),
        entry("noise up to the bound", noise(256 * 1024)),
    ]
}

/// Bytes that nothing compresses, the same in every run.
fn noise(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count).map(|_| random.u8(..)).collect()
}
