//! The JSON forms of blocks and transactions, the same in messages, files and on the screen. The field names are the
//! original's. Accounts are written by name where the network has one; amounts are decimal numbers that are never
//! read as floats.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::block::Block;
use crate::header::Header;
use crate::network::{Network, UnknownAccount};
use crate::target::Bits;
use crate::transaction::{Authorization, Payment, Transaction};
use crate::units::{Amount, Hash, Height, Timestamp, TxId};

/// Why well-formed JSON is not a block or transaction of the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not the fields that are wanted.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A transaction's version is unknown.
    #[error("transaction version {0} is unknown")]
    Version(u32),
    /// An account is neither a name nor an id.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    /// Only one of key and signature is there.
    #[error("transaction {0} has only one of public_key and signature")]
    HalfSigned(TxId),
    /// A transaction's id is not that of its content on this network.
    #[error("unique_id is {claimed}, but the content's is {computed}")]
    TxId {
        /// As it stands there.
        claimed: TxId,
        /// As it should be.
        computed: TxId,
    },
    /// A block's hash is not that of its header.
    #[error("hash is {claimed}, but the header's is {computed}")]
    Hash {
        /// As it stands there.
        claimed: Hash,
        /// As it should be.
        computed: Hash,
    },
}

/// A transaction's fields, in the original's order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionJson<'a> {
    #[serde(default = "transaction_version", skip_serializing_if = "is_transaction_version")]
    version: u32,
    #[serde(borrow)]
    to_node: Cow<'a, str>,
    #[serde(borrow)]
    from_node: Cow<'a, str>,
    #[serde(with = "decimal")]
    amount: Amount,
    timestamp: Timestamp,
    unique_id: TxId,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
}

/// A block's fields, in the original's order, the rest of the header between nonce and transactions.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BlockJson<'a> {
    index: Height,
    prev_hash: Hash,
    timestamp: Timestamp,
    nonce: u64,
    version: u32,
    bits: Bits,
    #[serde(borrow)]
    miner: Cow<'a, str>,
    extra_nonce: u64,
    tx_root: Hash,
    #[serde(borrow)]
    transactions: Vec<TransactionJson<'a>>,
    hash: Hash,
}

impl<'a> TransactionJson<'a> {
    /// The JSON form of a transaction.
    pub fn new(transaction: &Transaction, network: &Network) -> Self {
        let payment = transaction.payment();
        let authorization = transaction.authorization();
        Self {
            version: Transaction::VERSION,
            to_node: network.account_text(&payment.to).into(),
            from_node: network.account_text(&payment.from).into(),
            amount: payment.amount,
            timestamp: payment.timestamp,
            unique_id: transaction.id(),
            public_key: authorization.map(|it| const_hex::encode(it.public_key).into()),
            signature: authorization.map(|it| const_hex::encode(it.signature).into()),
        }
    }

    /// The transaction that the JSON form stands for, its id recomputed.
    pub fn parse(&self, network: &Network) -> Result<Transaction, JsonError> {
        if self.version != Transaction::VERSION {
            return Err(JsonError::Version(self.version));
        }
        let payment = Payment {
            from: network.account(&self.from_node)?,
            to: network.account(&self.to_node)?,
            amount: self.amount,
            timestamp: self.timestamp,
        };
        let authorization = match (&self.public_key, &self.signature) {
            (None, None) => None,
            (Some(key), Some(signature)) => {
                Some(Authorization { public_key: hex(key)?, signature: hex(signature)? })
            }
            _ => return Err(JsonError::HalfSigned(self.unique_id)),
        };
        let transaction = Transaction::new(&network.id, payment, authorization);
        let (claimed, computed) = (self.unique_id, transaction.id());
        if claimed == computed { Ok(transaction) } else { Err(JsonError::TxId { claimed, computed }) }
    }
}

impl<'a> BlockJson<'a> {
    /// The JSON form of a block.
    pub fn new(block: &Block, network: &Network) -> Self {
        let header = &block.header;
        Self {
            index: header.index,
            prev_hash: header.prev_hash,
            timestamp: header.timestamp,
            nonce: header.nonce,
            version: header.version,
            bits: header.bits,
            miner: network.account_text(&header.miner).into(),
            extra_nonce: block.extra_nonce,
            tx_root: header.tx_root,
            transactions: block.transactions.iter().map(|it| TransactionJson::new(it, network)).collect(),
            hash: header.hash(),
        }
    }

    /// The block that the JSON form stands for, its hash and its transactions' ids recomputed.
    pub fn parse(&self, network: &Network) -> Result<Block, JsonError> {
        let header = Header {
            prev_hash: self.prev_hash,
            tx_root: self.tx_root,
            version: self.version,
            bits: self.bits,
            index: self.index,
            timestamp: self.timestamp,
            miner: network.account(&self.miner)?,
            nonce: self.nonce,
        };
        let (claimed, computed) = (self.hash, header.hash());
        if claimed != computed {
            return Err(JsonError::Hash { claimed, computed });
        }
        let transactions = self.transactions.iter().map(|it| it.parse(network)).collect::<Result<_, _>>()?;
        Ok(Block { header, extra_nonce: self.extra_nonce, transactions })
    }
}

fn transaction_version() -> u32 {
    Transaction::VERSION
}

fn is_transaction_version(version: &u32) -> bool {
    *version == Transaction::VERSION
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], JsonError> {
    let malformed = || JsonError::Malformed(alloc::format!("a key or signature is not {} hex digits", 2 * N));
    if text.len() != 2 * N {
        return Err(malformed());
    }
    const_hex::decode_to_array(text).map_err(|_| malformed())
}

/// An amount as a JSON number, read from its digits. A string is read too, for programs whose numbers are floats.
mod decimal {
    use super::*;

    pub(super) fn serialize<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(amount.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        text.trim_matches('"').parse().map_err(de::Error::custom)
    }
}
