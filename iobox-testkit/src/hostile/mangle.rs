//! Mangling: what becomes of bytes on their way through bad hands.

/// `count` mangled forms of `bytes`, the same for the same seed: cut, repeated, with bits turned, and
/// with pieces put in that parsers stumble over.
pub fn mangled(bytes: &[u8], seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
    /// The most bytes of a mangled form.
    const LENGTH_MAX: usize = 4_096;
    /// The pieces.
    const PIECES: [&[u8]; 24] = [
        b"\0",
        b"\r\n",
        b"\n",
        b" ",
        b"%",
        b"%0",
        b"%zz",
        b"%ff",
        b"\"",
        b"'",
        b"\\",
        b"[[",
        b"]]",
        b"{",
        b"}",
        b",",
        b":",
        b"//",
        b"@",
        b".",
        b"*",
        b">",
        b"\xff\xfe",
        b"18446744073709551616",
    ];
    let original = bytes.to_vec();
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(move || {
        let mut bytes = original.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=bytes.len());
            match random.u8(..6) {
                0 => bytes.truncate(at),
                1 => bytes.drain(..at).for_each(drop),
                2 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.u8(..8);
                    }
                }
                3 => bytes.insert(at, random.u8(..)),
                4 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
                _ => {
                    let piece = PIECES[random.usize(..PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
        bytes.truncate(LENGTH_MAX);
        bytes
    })
    .take(count)
}
