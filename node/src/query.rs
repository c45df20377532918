//! What can be asked of a store, by a command that opens it or by one that asks the node which holds it.

mod seen;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use quarry_core::block::Block;
use quarry_core::json::BlockJson;
use quarry_core::network::Network;
use quarry_core::store::{Store, StoreError};
use quarry_core::transaction::Transaction;
use quarry_core::units::{Amount, Hash, Height, TxId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::args::BlockRef;
use crate::exit::{Exit, OrExit as _};
use crate::store::Snapshot;
pub use seen::{BLOCKS_MAX, SeenAnswer, effective_blocks};

/// The most blocks or balances of one answer.
pub const COUNT_MAX: u32 = 1000;
/// The size at which an answer takes no more blocks.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Something to ask of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Query {
    /// The newest blocks, as many as fit an answer.
    Chain {
        /// How many.
        count: u32,
    },
    /// A block of the best chain.
    BlockAt(Height),
    /// Any block.
    Block(Hash),
    /// The newest blocks' heights and hashes.
    Path {
        /// How many.
        count: u32,
    },
    /// Balances.
    Balances {
        /// Of this account only.
        account: Option<String>,
    },
    /// How the newest blocks were mined.
    Seen {
        /// How many of them to look at.
        blocks: u32,
    },
}

/// A block, and where it stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockAnswer {
    /// The block's JSON form.
    pub block: Box<RawValue>,
    /// The header's 116 bytes in hex.
    pub header: String,
    /// How many blocks of the best chain it is deep, itself included; 0 on another branch.
    pub confirmations: u64,
}

/// A block of the best chain by height and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathAnswer {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
}

/// Balances at a height.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancesAnswer {
    /// The height of the tip.
    pub height: Height,
    /// The balances, by account.
    pub balances: Vec<BalanceAnswer>,
    /// Whether there are more accounts than fit an answer.
    pub more: bool,
}

/// An account's balance.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceAnswer {
    /// The account's name, or its id where it has none.
    pub account: String,
    /// The account's id.
    pub id: String,
    /// What it holds, with two decimals.
    pub balance: String,
}

impl From<BlockRef> for Query {
    fn from(block: BlockRef) -> Self {
        match block {
            BlockRef::Height(height) => Self::BlockAt(height),
            BlockRef::Hash(hash) => Self::Block(hash),
        }
    }
}

/// The answer to a query, as JSON.
pub fn answer(store: &Snapshot, network: &Network, query: &Query) -> Result<Box<RawValue>> {
    match query {
        Query::Chain { count } => {
            let (mut blocks, mut bytes) = (Vec::new(), 0);
            for block in newest_blocks(store)?.take(usize::try_from((*count).min(COUNT_MAX))?) {
                let block = to_raw_value(&BlockJson::new(&*block?, network))?;
                bytes += block.get().len();
                blocks.push(block);
                if ANSWER_BYTES_MAX < bytes {
                    break;
                }
            }
            Ok(to_raw_value(&blocks)?)
        }
        Query::BlockAt(height) => match store.path(*height)? {
            Some(hash) => block(store, network, &hash),
            None => not_found(format!("there is no block at height {height}")),
        },
        Query::Block(hash) => block(store, network, hash),
        Query::Path { count } => Ok(to_raw_value(&path(store, (*count).min(COUNT_MAX))?)?),
        Query::Balances { account } => balances(store, network, account.as_deref()),
        Query::Seen { blocks } => Ok(to_raw_value(&seen::answer(store, network, *blocks)?)?),
    }
}

/// The blocks of the best chain, the tip first.
pub fn newest_blocks(store: &Snapshot) -> Result<impl Iterator<Item = Result<Arc<Block>>>> {
    let mut next = store.tip()?;
    Ok(std::iter::from_fn(move || {
        let hash = next.take()?;
        let found = store.block(&hash).and_then(|block| {
            block.ok_or_else(|| StoreError(format!("block {hash} is missing; `verify` can tell more")))
        });
        let block = match found {
            Ok(block) => block,
            Err(error) => return Some(Err(error.into())),
        };
        next = (Height(0) < block.header.index).then_some(block.header.prev_hash);
        Some(Ok(block))
    }))
}

/// The height of the tip.
pub fn height(store: &Snapshot) -> Result<Height> {
    let Some(hash) = store.tip()? else { return Ok(Height(0)) };
    Ok(store.record(&hash)?.map_or(Height(0), |record| record.header.index))
}

/// A transaction with the height and hash of its block.
pub(crate) type Mined = (Transaction, Height, Hash);

/// The transaction with this id, if it is in a block that is not too old to be in the index.
pub(crate) fn find_mined(store: &Snapshot, id: &TxId) -> Result<Option<Mined>> {
    let Some(height) = store.mined(id)? else { return Ok(None) };
    let Some(hash) = store.path(height)? else { return Ok(None) };
    let block = store.block(&hash)?;
    let found = block.and_then(|block| block.transactions.iter().find(|it| it.id() == *id).cloned());
    Ok(found.map(|transaction| (transaction, height, hash)))
}

/// The transactions that wait, by the order of arrival, up to the one with this id; none where that does not wait. Each is
/// looked at.
pub(crate) fn waiting_until(store: &Snapshot, id: &TxId) -> Result<Vec<Arc<Transaction>>> {
    let mut waiting: Vec<_> = store.mempool()?.into_iter().map(|(_, transaction)| transaction).collect();
    let until = waiting.iter().position(|it| it.id() == *id).map_or(0, |place| place + 1);
    waiting.truncate(until);
    Ok(waiting)
}

/// What can be said of a transaction that is not found.
pub(crate) fn unknown(store: &Snapshot) -> Result<String> {
    let from = store.indexed_from()?;
    Ok(format!(
        "this transaction neither waits nor is it in a block from height {from} on; older are not indexed"
    ))
}

/// The newest blocks of the best chain, the tip first.
fn path(store: &Snapshot, count: u32) -> Result<Vec<PathAnswer>> {
    let height = height(store)?;
    let lowest = Height((height.0 + 1).saturating_sub(count.into()));
    let path = store.path_range(lowest..=height)?.rev();
    Ok(path.map(|entry| entry.map(|(height, hash)| PathAnswer { height, hash })).collect::<Result<_, _>>()?)
}

fn block(store: &Snapshot, network: &Network, hash: &Hash) -> Result<Box<RawValue>> {
    let Some(block) = store.block(hash)? else {
        return not_found(format!("there is no block {hash}"));
    };
    let index = block.header.index;
    let confirmations =
        if store.path(index)? == Some(*hash) { height(store)?.0.saturating_sub(index.0) + 1 } else { 0 };
    let answer = BlockAnswer {
        block: to_raw_value(&BlockJson::new(&block, network))?,
        header: block.header.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        confirmations,
    };
    Ok(to_raw_value(&answer)?)
}

fn balances(store: &Snapshot, network: &Network, account: Option<&str>) -> Result<Box<RawValue>> {
    let count_max = usize::try_from(COUNT_MAX)?;
    let (found, more) = match account {
        None => {
            let mut found = store.balances(None, count_max + 1)?;
            let more = count_max < found.len();
            found.truncate(count_max);
            (found, more)
        }
        Some(text) => {
            let id = network.account(text).or_exit(Exit::NotFound)?;
            (vec![(id, store.balance(&id)?.unwrap_or(Amount(0)))], false)
        }
    };
    let balances = found.iter().map(|(id, balance)| BalanceAnswer {
        account: network.account_text(id),
        id: id.to_string(),
        balance: balance.to_string(),
    });
    let answer = BalancesAnswer { height: height(store)?, balances: balances.collect(), more };
    Ok(to_raw_value(&answer)?)
}

fn not_found<T>(what: String) -> Result<T> {
    Err(Exit::NotFound.error(anyhow!(what)))
}
