//! The ledger again, in the plainest way: every block of a chain replayed from the start over plain maps.

use std::collections::BTreeMap;

use quarry_core::block::Block;
use quarry_core::network::Network;
use quarry_core::units::{AccountId, Amount, Hash, TxId};

/// What a chain amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Oracle {
    pub(crate) balances: BTreeMap<AccountId, Amount>,
    /// Every transaction of the chain, with its block's height.
    pub(crate) mined: BTreeMap<TxId, u64>,
}

impl Oracle {
    /// The first block's ledger.
    pub(crate) fn new(network: &Network) -> Self {
        let balances = network.accounts.iter().map(|account| (account.id, account.balance)).collect();
        Self { balances, mined: BTreeMap::new() }
    }

    /// The ledger after one more block; `None` where the block breaks a rule that takes a ledger.
    pub(crate) fn after(&self, network: &Network, block: &Block) -> Option<Self> {
        let mut next = self.clone();
        for transaction in &block.transactions {
            let payment = transaction.payment();
            let age = i128::from(block.header.timestamp.micros()) - i128::from(payment.timestamp.micros());
            let is_in_window = age.abs() <= i128::from(network.limits.transaction_window) * 1_000_000;
            let sender = next.balances.get_mut(&payment.from)?;
            if !is_in_window || sender.0 < payment.amount.0 || !transaction.is_signature_valid() {
                return None;
            }
            sender.0 -= payment.amount.0;
            next.balances.entry(payment.to).or_default().0 += payment.amount.0;
            if next.mined.insert(transaction.id(), block.header.index.0).is_some() {
                return None;
            }
        }
        if network.reward.0 != 0 {
            next.balances.entry(block.header.miner).or_default().0 += network.reward.0;
        }
        Some(next)
    }
}

/// The best of the blocks that stand on nothing but good ones, and its ledger: most blocks, then the lowest hash.
pub(crate) fn best(network: &Network, blocks: &[Block]) -> (Hash, Oracle) {
    let genesis = network.genesis.hash();
    let mut good = BTreeMap::from([(genesis, (0, Oracle::new(network)))]);
    // Parents come before their children in the list.
    for block in blocks {
        let Some((height, parent)) = good.get(&block.header.prev_hash) else { continue };
        let is_well_made = block.header.index.0 == height + 1
            && block.header.tx_root == block.tx_root()
            && block.header.bits == network.bits;
        if let Some(ledger) = parent.after(network, block).filter(|_| is_well_made) {
            let entry = (height + 1, ledger);
            good.insert(block.header.hash(), entry);
        }
    }
    let best = good.iter().max_by_key(|(hash, (height, _))| (*height, std::cmp::Reverse(**hash)));
    let (hash, (_, ledger)) = best.unwrap();
    (*hash, ledger.clone())
}
