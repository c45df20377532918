//! What a store keeps. Of each of these forms exactly one stands for a value, so what is taken encodes to the very
//! bytes it was.

use quarry_core::codec::{self, RECORD_LEN, Reader};
use quarry_core::header::Header;

use crate::world::world;

/// A header's 116 bytes.
pub fn header(bytes: &[u8]) -> bool {
    let Ok(bytes): Result<&[u8; Header::LEN], _> = bytes.try_into() else { return false };
    let Ok(header) = Header::from_bytes(bytes) else { return false };
    assert_eq!(header.to_bytes(), *bytes);
    true
}

/// What is known of a block.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(bytes): Result<&[u8; RECORD_LEN], _> = bytes.try_into() else { return false };
    let Ok(record) = codec::decode_record(bytes) else { return false };
    assert_eq!(codec::encode_record(&record), *bytes);
    true
}

/// A block's extra nonce and transactions.
pub fn body(bytes: &[u8]) -> bool {
    let network = &world().network;
    let Ok(block) = codec::decode_body(network.genesis, bytes, &network.id) else { return false };
    assert_eq!(codec::encode_body(&block), bytes);
    true
}

/// A transaction that waits.
pub fn transaction(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let Ok(transaction) = codec::take_transaction(&mut reader, &world().network.id) else { return false };
    if reader.finish().is_err() {
        return false;
    }
    let mut encoded = Vec::new();
    codec::put_transaction(&mut encoded, &transaction);
    assert_eq!(encoded, bytes);
    true
}

/// How to take a block off the ledger.
pub fn undo(bytes: &[u8]) -> bool {
    let Ok(undo) = codec::decode_undo(bytes) else { return false };
    assert_eq!(codec::encode_undo(&undo), bytes);
    true
}
