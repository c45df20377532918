//! The plain ledger: every block that any honest node ever stored, judged without the core's rules.
//!
//! Balances are kept whole for every block and a transaction is looked for along the branch, so there is nothing to
//! undo and nothing to prune. Invariant: a verdict depends on the block, its ancestors and the network only.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use num_bigint::BigUint;
use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::network::Network;
use quarry_core::target::Bits;
use quarry_core::transaction::Transaction;
use quarry_core::units::{AccountId, Hash, TxId};

use crate::difficulty;

/// Every block that any honest node ever stored.
pub struct History {
    network: Arc<Network>,
    blocks: BTreeMap<Hash, Entry>,
    /// The blocks that hold a transaction, with their heights.
    homes: BTreeMap<TxId, Vec<(u64, Hash)>>,
    /// The leaves of transactions whose signatures were found valid.
    verified: BTreeSet<Hash>,
}

/// A block and what the plain ledger says of it.
pub struct Entry {
    /// The block.
    pub block: Arc<Block>,
    /// Its height.
    pub height: u64,
    /// The hashes that its chain stands for; where all blocks have one difficulty, the blocks.
    pub work: BigUint,
    /// The balances after it, or the rule that it or an ancestor breaks.
    pub balances: Result<Rc<Balances>, &'static str>,
}

/// What every account that ever had money holds, in cents.
pub type Balances = BTreeMap<AccountId, u64>;

impl History {
    /// Nothing but the first block.
    pub fn new(network: &Arc<Network>) -> Self {
        let balances = network.accounts.iter().map(|account| (account.id, account.balance.0)).collect();
        let block = Arc::new(network.genesis_block());
        let genesis = Entry { block, height: 0, work: BigUint::ZERO, balances: Ok(Rc::new(balances)) };
        Self {
            network: Arc::clone(network),
            blocks: BTreeMap::from([(network.genesis.hash(), genesis)]),
            homes: BTreeMap::new(),
            verified: BTreeSet::new(),
        }
    }

    /// What is known of a block.
    pub fn entry(&self, hash: &Hash) -> Option<&Entry> {
        self.blocks.get(hash)
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there are none, which never is.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes a block that a node has stored; an error where the same hash stands for something else elsewhere, or
    /// where the parent is unknown.
    pub fn insert(&mut self, hash: Hash, block: &Arc<Block>) -> Result<(), String> {
        if let Some(known) = self.blocks.get(&hash) {
            let is_same = Arc::ptr_eq(&known.block, block) || known.block == *block;
            return if is_same { Ok(()) } else { Err(format!("two blocks are {hash}")) };
        }
        let Some(parent) = self.blocks.get(&block.header.prev_hash) else {
            return Err(format!("block {hash} is stored before its parent"));
        };
        let (height, parent_balances) = (parent.height + 1, parent.balances.clone());
        let work = &parent.work + self.work(block.header.bits);
        let balances = match parent_balances {
            Ok(balances) => self.judge(hash, block, height, balances),
            Err(rule) => Err(rule),
        };
        for transaction in &block.transactions {
            self.homes.entry(transaction.id()).or_default().push((height, hash));
        }
        self.blocks.insert(hash, Entry { block: Arc::clone(block), height, work, balances });
        Ok(())
    }

    /// Whether a block is another or one of its descendants.
    pub fn descends(&self, mut hash: Hash, ancestor: &Hash, height: u64) -> bool {
        while let Some(entry) = self.blocks.get(&hash) {
            if entry.height <= height {
                return hash == *ancestor;
            }
            hash = entry.block.header.prev_hash;
        }
        false
    }

    /// Where a transaction stands in the branch that ends with a block.
    pub fn home(&self, id: &TxId, tip: Hash) -> Option<u64> {
        let homes = self.homes.get(id)?;
        homes.iter().find(|(height, hash)| self.descends(tip, hash, *height)).map(|(height, _)| *height)
    }

    fn judge(
        &mut self,
        hash: Hash,
        block: &Block,
        height: u64,
        before: Rc<Balances>,
    ) -> Result<Rc<Balances>, &'static str> {
        let (header, parent) = (block.header, &self.blocks[&block.header.prev_hash].block.header);
        let seconds = u64::from(self.network.limits.transaction_window);
        let micros = header.timestamp.micros();
        let rules = [
            (header.hash() == hash, "its hash is another"),
            (header.version == 1, "version"),
            (Some(header.bits.0) == self.next_bits(&header), "bits"),
            (self.is_worked_for(hash, header.bits), "proof of work"),
            (header.index.0 == height, "height"),
            (parent.timestamp < header.timestamp, "timestamp"),
            (header.tx_root == plain_root(block), "root"),
            (
                block.transactions.len() as u64 <= u64::from(self.network.limits.block_transactions),
                "too many",
            ),
        ];
        if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(rule);
        }
        let mut after = Rc::unwrap_or_clone(before);
        let mut ids = BTreeSet::new();
        for transaction in &block.transactions {
            let payment = transaction.payment();
            if seconds * 1_000_000 < payment.timestamp.micros().abs_diff(micros) {
                return Err("window");
            }
            let id = transaction.id();
            if !ids.insert(id) || self.home(&id, header.prev_hash).is_some() {
                return Err("transaction twice");
            }
            if !self.is_authorized(transaction) {
                return Err("signature");
            }
            let funds = after.get(&payment.from).copied().unwrap_or(0);
            if payment.amount.0 == 0 || payment.from == payment.to || funds < payment.amount.0 {
                return Err("payment");
            }
            after.insert(payment.from, funds - payment.amount.0);
            *after.entry(payment.to).or_default() += payment.amount.0;
        }
        if self.network.reward.0 != 0 {
            *after.entry(header.miner).or_default() += self.network.reward.0;
        }
        let supply: u64 = self.network.accounts.iter().map(|account| account.balance.0).sum();
        if after.values().sum::<u64>() != supply + height * self.network.reward.0 {
            return Err("money was made or lost");
        }
        Ok(Rc::new(after))
    }

    /// The hashes that a block with such bits stands for, or 1 where all have the same.
    fn work(&self, bits: Bits) -> BigUint {
        if self.network.block_time_us == 0 { BigUint::from(1_u32) } else { difficulty::work(bits.0) }
    }

    /// The bits that a header must have after its ancestors.
    fn next_bits(&self, header: &Header) -> Option<u32> {
        let ancestor = |hash: &Hash| Some(self.blocks.get(hash)?.block.header);
        difficulty::next_bits(&self.network, header, ancestor)
    }

    /// Whether a hash is below the number that the bits stand for.
    fn is_worked_for(&self, hash: Hash, bits: Bits) -> bool {
        if self.network.block_time_us == 0 {
            return hash.to_string().starts_with('0');
        }
        BigUint::from_bytes_be(&hash.0) < difficulty::target(bits.0)
    }

    fn is_authorized(&mut self, transaction: &Transaction) -> bool {
        let from = transaction.payment().from;
        let is_open = self.network.accounts.iter().any(|account| account.id == from && account.open);
        let Some(authorization) = transaction.authorization() else { return is_open };
        if is_open || Hash::of(&[&authorization.public_key]).0[..20] != from.0 {
            return false;
        }
        // One signature is checked once, however many branches hold it.
        let leaf = transaction.leaf();
        self.verified.contains(&leaf)
            || (transaction.is_signature_valid() && {
                self.verified.insert(leaf);
                true
            })
    }
}

/// The digest that a header should commit to, by halves rather than by levels.
fn plain_root(block: &Block) -> Hash {
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::default(),
            [leaf] => *leaf,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(half);
                Hash::of(&[&[1], &root(left).0, &root(right).0])
            }
        }
    }
    let leaves: Vec<Hash> = block.transactions.iter().map(Transaction::leaf).collect();
    let count = u32::try_from(leaves.len()).expect("a block holds fewer than 2^32 transactions");
    let merkle = root(&leaves);
    Hash::of(&[b"quarry transactions\0", &block.extra_nonce.to_be_bytes(), &count.to_be_bytes(), &merkle.0])
}
