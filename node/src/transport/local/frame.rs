//! How a message lies in a log: length, checksum of the payload, checksum of the two, payload. Integers big-endian.
//! Invariant: whatever the bytes are, decoding goes forward or asks for more bytes; it never panics.

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;

/// What stands at the start of some bytes of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A message larger than allowed.
    Oversize {
        /// With its header.
        bytes: u64,
        /// Without.
        payload: usize,
    },
    /// The beginning of a message.
    Incomplete,
    /// So many bytes that are no message, up to the next that may be one.
    Damaged(usize),
}

/// Appends the frame of `payload`, which is shorter than 4 GiB.
pub fn encode(payload: &[u8], frame: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("messages are limited to 64 MiB");
    let start = frame.len();
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
    let check = crc32fast::hash(&frame[start..]);
    frame.extend_from_slice(&check.to_be_bytes());
    frame.extend_from_slice(payload);
}

/// Says what stands at the start of `bytes`.
pub fn decode(bytes: &[u8], payload_max: usize) -> Decoded<'_> {
    let Some((header, rest)) = bytes.split_first_chunk() else {
        return Decoded::Incomplete;
    };
    let Some((len, checksum)) = parse(header) else {
        return Decoded::Damaged(distance_to_header(bytes));
    };
    if payload_max < len {
        return Decoded::Oversize { bytes: len as u64 + HEADER_BYTES as u64, payload: len };
    }
    match rest.get(..len) {
        None => Decoded::Incomplete,
        Some(payload) if crc32fast::hash(payload) == checksum => Decoded::Message(payload),
        Some(_) => Decoded::Damaged(HEADER_BYTES + len),
    }
}

/// Length and checksum of the payload, where the header's own checksum fits: zeros are no header.
fn parse(header: &[u8; HEADER_BYTES]) -> Option<(usize, u32)> {
    let [len, checksum, check] = [0, 4, 8].map(|at| {
        let bytes = header[at..].first_chunk().expect("three words of four bytes are the header");
        u32::from_be_bytes(*bytes)
    });
    (crc32fast::hash(&header[..8]) == check).then_some((len as usize, checksum))
}

/// How far the next header is; where there is none, all but what may be the beginning of one.
fn distance_to_header(bytes: &[u8]) -> usize {
    let next = |at: &usize| bytes[*at..].first_chunk().is_some_and(|header| parse(header).is_some());
    let last = bytes.len() - HEADER_BYTES;
    (1..=last).find(next).unwrap_or(last + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(payload, &mut bytes);
        bytes
    }

    #[test]
    fn every_prefix_of_a_message_is_incomplete() {
        let bytes = frame(b"some payload");
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len], 100), Decoded::Incomplete, "{len}");
        }
        assert_eq!(decode(&bytes, 100), Decoded::Message(b"some payload"));
        assert_eq!(decode(&bytes, 11), Decoded::Oversize { bytes: 24, payload: 12 });
        assert_eq!(decode(&frame(b""), 0), Decoded::Message(b""));
    }

    #[test]
    fn zeros_are_not_messages() {
        assert_eq!(decode(&[0; 40], 100), Decoded::Damaged(29));
    }

    proptest! {
        #[test]
        fn a_damaged_message_does_not_hide_the_next(
            first in prop::collection::vec(any::<u8>(), 0..60), bit in 0..8_u32, at in any::<prop::sample::Index>()
        ) {
            let mut bytes = frame(&first);
            let len = bytes.len();
            bytes[at.index(len)] ^= 1_u8 << bit;
            bytes.extend(frame(b"second"));
            let mut used = 0;
            while let Decoded::Damaged(skip) = decode(&bytes[used..], 100) {
                prop_assert!(0 < skip);
                used += skip;
            }
            prop_assert_eq!(decode(&bytes[used..], 100), Decoded::Message(&b"second"[..]));
        }

        #[test]
        fn any_bytes_are_decoded_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut used = 0;
            while let Decoded::Damaged(skip) = decode(&bytes[used..], 100) {
                prop_assert!(0 < skip && skip <= bytes.len() - used);
                used += skip;
            }
        }
    }
}
