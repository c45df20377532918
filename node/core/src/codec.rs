//! The binary forms that a store keeps: fixed layouts, integers big-endian.
//! Invariant: decoding what was encoded gives it back, and no other bytes decode to it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::block::Block;
use crate::header::{Header, TimestampOutOfRange};
use crate::store::{Record, Status, Undo};
use crate::target::Work;
use crate::transaction::{Authorization, Payment, Transaction};
use crate::units::{AccountId, Amount, Height, NetworkId, Timestamp};

/// The length of a [`Record`]'s bytes.
pub const RECORD_LEN: usize = Header::LEN + 32 + 1;

/// Why bytes do not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("the bytes end {missing} too early")]
    Truncated {
        /// How many more are needed.
        missing: usize,
    },
    /// Bytes are left over.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// A tag byte has a value without a meaning.
    #[error("a tag byte is {0}")]
    Tag(u8),
    /// A transaction's version is unknown.
    #[error("transaction version {0} is unknown")]
    Version(u32),
    /// A timestamp has no text form.
    #[error(transparent)]
    Timestamp(#[from] TimestampOutOfRange),
    /// Accounts do not stand in ascending order, each once.
    #[error("account {0} is out of order")]
    Order(AccountId),
}

/// Takes fixed-size parts off the front of some bytes.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of the bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let missing = || CodecError::Truncated { missing: N - self.0.len() };
        let (part, rest) = self.0.split_first_chunk().ok_or_else(missing)?;
        self.0 = rest;
        Ok(*part)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.0.len())) }
    }

    fn timestamp(&mut self) -> Result<Timestamp, CodecError> {
        let micros = u64::from_be_bytes(self.take()?);
        Ok(Timestamp::from_micros(micros).ok_or(TimestampOutOfRange(micros))?)
    }
}

/// Appends a transaction: version 4, from 20, to 20, amount 8, timestamp 8, a tag, and after a tag of 1 the public
/// key 32 and signature 64.
pub fn put_transaction(bytes: &mut Vec<u8>, transaction: &Transaction) {
    let payment = transaction.payment();
    bytes.extend(Transaction::VERSION.to_be_bytes());
    bytes.extend(payment.from.0);
    bytes.extend(payment.to.0);
    bytes.extend(payment.amount.0.to_be_bytes());
    bytes.extend(payment.timestamp.micros().to_be_bytes());
    bytes.push(u8::from(transaction.authorization().is_some()));
    if let Some(authorization) = transaction.authorization() {
        bytes.extend(authorization.public_key);
        bytes.extend(authorization.signature);
    }
}

/// Reads what [`put_transaction`] wrote.
pub fn take_transaction(reader: &mut Reader<'_>, network: &NetworkId) -> Result<Transaction, CodecError> {
    let version = u32::from_be_bytes(reader.take()?);
    if version != Transaction::VERSION {
        return Err(CodecError::Version(version));
    }
    let payment = Payment {
        from: AccountId(reader.take()?),
        to: AccountId(reader.take()?),
        amount: Amount(u64::from_be_bytes(reader.take()?)),
        timestamp: reader.timestamp()?,
    };
    let authorization = match reader.take()? {
        [0] => None,
        [1] => Some(Authorization { public_key: reader.take()?, signature: reader.take()? }),
        [tag] => return Err(CodecError::Tag(tag)),
    };
    Ok(Transaction::new(network, payment, authorization))
}

/// A block without its header: extra nonce 8, then the transactions.
pub fn encode_body(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 157 * block.transactions.len());
    bytes.extend(block.extra_nonce.to_be_bytes());
    for transaction in &block.transactions {
        put_transaction(&mut bytes, transaction);
    }
    bytes
}

/// The block that has this header and the body that [`encode_body`] wrote.
pub fn decode_body(header: Header, bytes: &[u8], network: &NetworkId) -> Result<Block, CodecError> {
    let mut reader = Reader::new(bytes);
    let extra_nonce = u64::from_be_bytes(reader.take()?);
    let mut transactions = Vec::new();
    while !reader.0.is_empty() {
        transactions.push(take_transaction(&mut reader, network)?);
    }
    Ok(Block { header, extra_nonce, transactions })
}

/// A record: header 116, work 32, and 0, 1 or 2 for stored, valid or invalid.
pub fn encode_record(record: &Record) -> [u8; RECORD_LEN] {
    let mut bytes = [0; RECORD_LEN];
    bytes[..Header::LEN].copy_from_slice(&record.header.to_bytes());
    bytes[Header::LEN..RECORD_LEN - 1].copy_from_slice(&record.work.to_be_bytes());
    bytes[RECORD_LEN - 1] = match record.status {
        Status::Stored => 0,
        Status::Valid => 1,
        Status::Invalid => 2,
    };
    bytes
}

/// Reads what [`encode_record`] wrote.
pub fn decode_record(bytes: &[u8; RECORD_LEN]) -> Result<Record, CodecError> {
    let mut reader = Reader::new(bytes);
    let header = Header::from_bytes(&reader.take()?)?;
    let work = Work::from_be_bytes(reader.take()?);
    let status = match reader.take()? {
        [0] => Status::Stored,
        [1] => Status::Valid,
        [2] => Status::Invalid,
        [tag] => return Err(CodecError::Tag(tag)),
    };
    Ok(Record { header, work, status })
}

/// Undo data: indexed_from 8, then by ascending account the account 20, a tag, and after a tag of 1 the balance 8.
pub fn encode_undo(undo: &Undo) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 29 * undo.balances.len());
    bytes.extend(undo.indexed_from.0.to_be_bytes());
    for (account, balance) in &undo.balances {
        bytes.extend(account.0);
        bytes.push(u8::from(balance.is_some()));
        if let Some(balance) = balance {
            bytes.extend(balance.0.to_be_bytes());
        }
    }
    bytes
}

/// Reads what [`encode_undo`] wrote.
pub fn decode_undo(bytes: &[u8]) -> Result<Undo, CodecError> {
    let mut reader = Reader::new(bytes);
    let indexed_from = Height(u64::from_be_bytes(reader.take()?));
    let mut balances = BTreeMap::new();
    while !reader.0.is_empty() {
        let account = AccountId(reader.take()?);
        let balance = match reader.take()? {
            [0] => None,
            [1] => Some(Amount(u64::from_be_bytes(reader.take()?))),
            [tag] => return Err(CodecError::Tag(tag)),
        };
        if balances.last_key_value().is_some_and(|(last, _)| account <= *last) {
            return Err(CodecError::Order(account));
        }
        balances.insert(account, balance);
    }
    Ok(Undo { balances, indexed_from })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::Bits;
    use crate::units::Hash;

    prop_compose! {
        fn record()(
            (prev_hash, tx_root, miner) in (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 20]>()),
            (version, bits) in any::<(u32, u32)>(),
            (index, nonce) in any::<(u64, u64)>(),
            micros in 0..=Timestamp::MAX.micros(),
            work in any::<[u8; 32]>(),
            status in prop::sample::select(&[Status::Stored, Status::Valid, Status::Invalid]),
        ) -> Record {
            let timestamp = Timestamp::from_micros(micros).unwrap();
            let (prev_hash, tx_root, miner) = (Hash(prev_hash), Hash(tx_root), AccountId(miner));
            let (bits, index) = (Bits(bits), Height(index));
            let header = Header { prev_hash, tx_root, version, bits, index, timestamp, miner, nonce };
            Record { header, work: Work::from_be_bytes(work), status }
        }
    }

    prop_compose! {
        fn undo()(
            balances in prop::collection::btree_map(any::<[u8; 20]>(), any::<Option<u64>>(), 0..20),
            indexed_from in any::<u64>(),
        ) -> Undo {
            let balances = balances.into_iter().map(|(id, cents)| (AccountId(id), cents.map(Amount)));
            Undo { balances: balances.collect(), indexed_from: Height(indexed_from) }
        }
    }

    proptest! {
        #[test]
        fn a_record_survives(record in record()) {
            prop_assert_eq!(decode_record(&encode_record(&record)), Ok(record));
        }

        #[test]
        fn undo_data_survives(undo in undo()) {
            prop_assert_eq!(decode_undo(&encode_undo(&undo)), Ok(undo));
        }

        #[test]
        fn every_record_has_one_form(mut bytes in any::<[u8; RECORD_LEN]>(), status in 0_u8..4) {
            bytes[80..83].fill(0);
            bytes[RECORD_LEN - 1] = status;
            if let Ok(record) = decode_record(&bytes) {
                prop_assert_eq!(encode_record(&record), bytes);
            }
        }

        #[test]
        fn undo_data_has_one_form(undo in undo(), position in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = encode_undo(&undo);
            let position = position.index(bytes.len());
            bytes[position] = byte;
            if let Ok(undo) = decode_undo(&bytes) {
                prop_assert_eq!(encode_undo(&undo), bytes);
            }
        }
    }

    #[test]
    fn undo_data_has_each_account_once_and_in_order() {
        let entry = [&[7; 20][..], &[0]].concat();
        let bytes = [&[0; 8][..], &entry, &entry].concat();
        assert_eq!(decode_undo(&bytes), Err(CodecError::Order(AccountId([7; 20]))));
        assert_eq!(decode_undo(&bytes[..30]), Err(CodecError::Truncated { missing: 19 }));
    }

    #[test]
    fn a_record_has_a_known_status() {
        let mut bytes = [0; RECORD_LEN];
        bytes[RECORD_LEN - 1] = 3;
        assert_eq!(decode_record(&bytes), Err(CodecError::Tag(3)));
        bytes[80] = 0xff;
        let micros = 0xff << 56;
        assert_eq!(decode_record(&bytes), Err(CodecError::Timestamp(TimestampOutOfRange(micros))));
    }
}
