//! Damage to bytes that were all right: small, so that what is left of them still gets past the first checks.

use crate::dice::Dice;

/// What an input grows to, at most.
const BYTES_MAX: usize = 32 << 10;
/// How often a piece is repeated, at most.
const REPEATS_MAX: usize = 64;

/// Bytes and words that mean something to one decoder or another.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b"\"\"",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\0",
    b"\n",
    b"#",
    b"=",
    b"[[accounts]]",
    b"-1",
    b"0",
    b"-0",
    b"1e3",
    b"1e400",
    b"0.001",
    b"NaN",
    b"18446744073709551615",
    b"18446744073709551616",
    b"184467440737095516.15",
    b"184467440737095516.16",
    b"9999-12-31 23:59:59.999999",
    b"1970-01-01 00:00:00",
    b"1969-12-31 23:59:59",
    b"2016-12-31 23:59:60",
    b"2026-01-01T00:00:00Z",
    b"0x",
    b"open0",
    b"alice",
    b"\"amount\":",
    b"\"hash\":",
    b"\"transactions\":",
    b"\"version\":1,",
    b"\"version\":2,",
    b"\"more\":true",
    b"\"public_key\":",
    b"\"signature\":",
    b"message_bytes = 4294967295",
    b"difficulty = 64",
    b"open = true",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\x01",
    b"\x02",
];

/// Damages an input a few times; `other` is one to take pieces from.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    // Forms of a fixed length have no use for anything longer or shorter.
    let in_place = dice.once_in(2);
    for _ in 0..*dice.pick(&[1, 1, 1, 2, 3, 6]) {
        if bytes.is_empty() {
            bytes.extend_from_slice(dice.pick::<&[u8]>(WORDS));
        }
        if in_place {
            overwrite(bytes, dice)
        } else {
            rearrange(bytes, other, dice)
        }
        bytes.truncate(BYTES_MAX);
    }
}

/// Changes some of the bytes, not how many there are.
fn overwrite(bytes: &mut [u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(4) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.bytes::<1>()[0],
        // Keeps a digit a digit and a letter a letter, for the most part.
        2 => bytes[at] = bytes[at].wrapping_add(*dice.pick(&[1, 0xff])),
        _ => {
            let word = *dice.pick::<&[u8]>(WORDS);
            let len = word.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&word[..len]);
        }
    }
}

/// Adds some bytes, or takes some away.
fn rearrange(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    let piece = piece(bytes.len(), dice);
    match dice.below(8) {
        0 => bytes.insert(at, dice.bytes::<1>()[0]),
        1 => drop(bytes.remove(at)),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(piece)),
        4 => {
            let copy = bytes[piece].to_vec();
            drop(bytes.splice(at..at, copy));
        }
        5 => {
            let copy = bytes[piece].repeat(1 + dice.below(REPEATS_MAX));
            drop(bytes.splice(at..at, copy));
        }
        6 if !other.is_empty() => {
            let theirs = self::piece(other.len(), dice);
            drop(bytes.splice(piece, other[theirs].iter().copied()));
        }
        _ => {
            let word = *dice.pick::<&[u8]>(WORDS);
            drop(bytes.splice(at..at, word.iter().copied()));
        }
    }
}

/// Some of so many bytes, mostly few.
fn piece(len: usize, dice: &mut Dice) -> std::ops::Range<usize> {
    let longest = if dice.once_in(4) { len } else { len.min(32) };
    let start = dice.below(len);
    start..len.min(start + 1 + dice.below(longest))
}
