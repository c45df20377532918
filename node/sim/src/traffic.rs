//! The clients of a simulated network: payments between its accounts at random, each told to some of the nodes.

use std::sync::Arc;

use quarry_core::message::Message;
use quarry_core::network::{Account, Network};
use quarry_core::transaction::{Payment, Transaction};
use quarry_core::units::{Amount, NodeId};

use crate::dice::Dice;
use crate::machine::utc;
use crate::network::Mail;
use crate::options::secret_key;

/// Makes transactions.
#[derive(Debug)]
pub struct Traffic {
    dice: Dice,
    network: Arc<Network>,
    signed_per_mille: u64,
}

impl Traffic {
    /// Traffic for a network.
    pub fn new(seed: u64, network: &Arc<Network>, signed_per_mille: u64) -> Self {
        Self { dice: Dice::new(seed, 2), network: Arc::clone(network), signed_per_mille }
    }

    /// How long until the next transaction.
    pub fn wait_us(&mut self, mean_us: u64) -> u64 {
        self.dice.wait_us(mean_us)
    }

    /// A payment between two accounts. Some are more than the payer has.
    pub fn transaction(&mut self, now_us: u64) -> Transaction {
        let accounts = &self.network.accounts;
        let is_open = !self.dice.chance(self.signed_per_mille);
        let payers: Vec<&Account> = accounts.iter().filter(|account| account.open == is_open).collect();
        let from = self.dice.pick(&payers);
        let payees: Vec<&Account> = accounts.iter().filter(|account| account.id != from.id).collect();
        let to = self.dice.pick(&payees);
        let cents =
            if self.dice.chance(100) { self.dice.between(1, 20_000) } else { self.dice.between(1, 200) };
        let payment = Payment { from: from.id, to: to.id, amount: Amount(cents), timestamp: utc(now_us, 0) };
        match from.name.strip_prefix("keyed") {
            Some(number) => {
                let number = number.parse().expect("keyed accounts are numbered");
                Transaction::signed(&self.network.id, payment, &secret_key(number))
            }
            None => Transaction::new(&self.network.id, payment, None),
        }
    }

    /// The messages that tell most nodes of a transaction, and at least one.
    pub fn tell(&mut self, transaction: Transaction, nodes: u16) -> Vec<Mail> {
        let bytes: Arc<[u8]> = Message::Transactions(vec![transaction]).encode(&self.network).into();
        let sure = self.dice.below(u64::from(nodes));
        let told = (0..nodes).filter(|node| u64::from(*node) == sure || self.dice.chance(600));
        let told: Vec<u16> = told.collect();
        let mail = |node| Mail { from: None, to: NodeId(node), bytes: Arc::clone(&bytes), bulk: true };
        told.into_iter().map(mail).collect()
    }
}
