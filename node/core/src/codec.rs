//! The binary forms that a store keeps: fixed layouts, integers big-endian.
//! Invariant: decoding what was encoded gives it back, and no other bytes decode to it.

use alloc::vec::Vec;

use crate::block::Block;
use crate::header::{Header, TimestampOutOfRange};
use crate::transaction::{Authorization, Payment, Transaction};
use crate::units::{AccountId, Amount, NetworkId, Timestamp};

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
        let truncated = || CodecError::Truncated { missing: N - self.0.len() };
        let (part, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
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
