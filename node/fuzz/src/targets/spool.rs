//! What the embedded transport keeps in its files.

use node::transport::local::cursor;
use node::transport::local::frame::{self, Decoded};

/// The largest payload that is taken.
const PAYLOAD_MAX: usize = 4096;

/// A log: whatever it holds, a reader goes forward, and every message that it finds is one that was written.
pub fn frames(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut taken = false;
    loop {
        let skip = match frame::decode(rest, PAYLOAD_MAX) {
            Decoded::Incomplete => return taken,
            Decoded::Message(payload) => {
                taken = true;
                let mut written = Vec::with_capacity(frame::HEADER_BYTES + payload.len());
                frame::encode(payload, &mut written);
                assert_eq!(rest[..written.len()], written);
                written.len()
            }
            Decoded::Oversize { bytes, payload } => {
                assert!(PAYLOAD_MAX < payload);
                usize::try_from(bytes).expect("a length of 32 bits and a little more")
            }
            Decoded::Damaged(skip) => {
                assert!(skip <= rest.len(), "what is not there yet may be undamaged");
                skip
            }
        };
        assert!(0 < skip, "a reader that does not go forward never ends");
        rest = rest.get(skip..).unwrap_or_default();
    }
}

/// A cursor: the place that is taken is the later of those that were written.
pub fn cursor(bytes: &[u8]) -> bool {
    let Some((stores, place)) = cursor::decode(bytes) else { return false };
    let written = cursor::record(stores, place);
    assert!(bytes.chunks_exact(cursor::RECORD_BYTES).take(2).any(|record| record == written));
    true
}
