//! Random trees of blocks with transactions, good and bad, from a few small numbers that shrink well.

use proptest::collection::vec;
use proptest::prelude::*;
use quarry_core::block::Block;
use quarry_core::header::Header;
use quarry_core::network::{Limits, Network, NetworkFile};
use quarry_core::target::Bits;
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{AccountId, Amount, Height, Timestamp};

use crate::rig::{ALICE, BOB, SECOND_US, network_file, remade};

/// A payment between two of the accounts.
#[derive(Debug, Clone)]
pub(crate) struct Payer {
    from: usize,
    to: usize,
    cents: u64,
    at_s: u64,
    is_forged: bool,
}

/// A block on one of those before it, with some of the payments.
#[derive(Debug, Clone)]
pub(crate) struct Bricks {
    parent: prop::sample::Index,
    gap_s: u64,
    transactions: Vec<prop::sample::Index>,
    defect: Option<Defect>,
}

/// What is wrong with a block that is not about its transactions.
#[derive(Debug, Clone, Copy)]
enum Defect {
    Index,
    Bits,
    Body,
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    window_s: u32,
    reward: u64,
    payers: Vec<Payer>,
    bricks: Vec<Bricks>,
    /// Whether new blocks go on top of the last one most of the time.
    is_chain: bool,
}

const NAMES: [&str; 5] = ["open0", "open1", "empty", "alice", "bob"];

fn payer() -> impl Strategy<Value = Payer> {
    (0..5_usize, 0..6_usize, 1..700_u64, 0..200_u64, prop::bool::weighted(0.03))
        .prop_map(|(from, to, cents, at_s, is_forged)| Payer { from, to, cents, at_s, is_forged })
}

fn bricks() -> impl Strategy<Value = Bricks> {
    let defect = prop_oneof![
        30 => Just(None),
        1 => Just(Some(Defect::Index)),
        1 => Just(Some(Defect::Bits)),
        1 => Just(Some(Defect::Body)),
    ];
    (any::<prop::sample::Index>(), 1..50_u64, vec(any::<prop::sample::Index>(), 0..4), defect)
        .prop_map(|(parent, gap_s, transactions, defect)| Bricks { parent, gap_s, transactions, defect })
}

/// A tree of at most so many blocks.
pub(crate) fn recipe(blocks_max: usize) -> impl Strategy<Value = Recipe> {
    (
        prop_oneof![Just(60), Just(7200)],
        0..2_u64,
        vec(payer(), 1..16),
        vec(bricks(), 1..blocks_max),
        any::<bool>(),
    )
        .prop_map(|(window_s, reward, payers, bricks, is_chain)| Recipe {
            window_s,
            reward,
            payers,
            bricks,
            is_chain,
        })
}

impl Recipe {
    pub(crate) fn network(&self) -> Network {
        let limits = Limits { transaction_window: self.window_s, ..network_file().limits };
        let reward = Amount(self.reward).to_string();
        Network::new(&NetworkFile { limits, reward, ..network_file() }).unwrap()
    }

    pub(crate) fn transactions(&self, network: &Network) -> Vec<Transaction> {
        let account = |number: usize| match NAMES.get(number) {
            Some(name) => network.account(name).unwrap(),
            None => AccountId([number.to_be_bytes()[7]; 20]),
        };
        let make = |payer: &Payer| {
            let payment = Payment {
                from: account(payer.from),
                // Not to oneself: that is another rule.
                to: account(if payer.to == payer.from { 5 } else { payer.to }),
                amount: Amount(payer.cents),
                timestamp: network.genesis.timestamp.saturating_add(payer.at_s * SECOND_US),
            };
            let good = match payer.from {
                3 => Transaction::signed(&network.id, payment, &ALICE),
                4 => Transaction::signed(&network.id, payment, &BOB),
                _ => Transaction::new(&network.id, payment, None),
            };
            let Some(mut authorization) = good.authorization().copied().filter(|_| payer.is_forged) else {
                return good;
            };
            authorization.signature[9] ^= 4;
            Transaction::new(&network.id, payment, Some(authorization))
        };
        self.payers.iter().map(make).collect()
    }

    /// The blocks, every parent before its children.
    pub(crate) fn blocks(&self, network: &Network) -> Vec<Block> {
        let pool = self.transactions(network);
        let mut headers = vec![network.genesis];
        let mut blocks = Vec::new();
        for (number, bricks) in self.bricks.iter().enumerate() {
            let parent = if self.is_chain && number % 4 != 3 {
                *headers.last().unwrap()
            } else {
                *bricks.parent.get(&headers)
            };
            let block = bricks.block(number, &parent, &pool, network);
            headers.push(block.header);
            blocks.push(block);
        }
        blocks
    }
}

impl Bricks {
    fn block(&self, number: usize, parent: &Header, pool: &[Transaction], network: &Network) -> Block {
        let mut transactions: Vec<Transaction> = Vec::new();
        for index in &self.transactions {
            let transaction = index.get(pool);
            if transactions.iter().all(|other| other.id() != transaction.id()) {
                transactions.push(transaction.clone());
            }
        }
        let header = Header {
            prev_hash: parent.hash(),
            tx_root: Default::default(),
            version: Header::VERSION,
            bits: network.bits,
            index: Height(parent.index.0 + 1),
            timestamp: Timestamp::from_micros(parent.timestamp.micros() + self.gap_s * SECOND_US).unwrap(),
            miner: AccountId([number.to_be_bytes()[7]; 20]),
            nonce: 0,
        };
        let mut block = Block { header, extra_nonce: 0, transactions };
        match self.defect {
            Some(Defect::Index) => block.header.index = Height(parent.index.0 + 2),
            Some(Defect::Bits) => block.header.bits = Bits(0x2100_ffff),
            Some(Defect::Body) | None => {}
        }
        let mut block = remade(block);
        if let Some(Defect::Body) = self.defect {
            block.extra_nonce += 1;
        }
        block
    }
}
