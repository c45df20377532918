//! Transactions that break a rule, that contradict each other, or that are merely many.

use quarry_core::message::Message;
use quarry_core::transaction::{Authorization, Payment, Transaction, public_key};
use quarry_core::units::{AccountId, Amount, Hash, NetworkId};

use super::{Adversary, View};
use crate::network::Mail;
use crate::options::{SECOND_US, secret_key};

/// The order of the group in which Ed25519 signatures live, little-endian.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The most fresh accounts with keys.
const FRESH_MAX: u8 = 100;

impl Adversary {
    /// How many kinds of bad lists there are.
    pub(super) const BAD_PAYMENTS: u64 = 14;

    /// Sends bad transactions, or good ones that cannot both be paid to different nodes.
    pub(super) fn bad_payments(&mut self, view: &View<'_>) -> Vec<Mail> {
        if self.dice.chance(300) {
            return self.double_spend(view);
        }
        let kind = self.dice.below(Self::BAD_PAYMENTS);
        let list = self.bad_list(view, kind);
        let mut bytes = Message::Transactions(list).encode(&self.network);
        if self.dice.chance(100) {
            // An id that is not the content's.
            let text = String::from_utf8(bytes).expect("messages are text");
            bytes = text.replace("\"unique_id\":\"", "\"unique_id\":\"f").into_bytes();
        }
        self.mail_some(view, &bytes)
    }

    /// Transactions of which at least one has no place in a block.
    pub(super) fn bad_list(&mut self, view: &View<'_>, kind: u64) -> Vec<Transaction> {
        let open = |number: u8| AccountId::open(&format!("open{number}"));
        let keyed = |number: u8| AccountId::keyed(&public_key(&secret_key(number)));
        let balance = |account: &AccountId| view.store.balances.get(account).map_or(0, |amount| amount.0);
        let cents = self.dice.between(1, 50);
        let good = self.payment(view, open(0), open(1), cents);
        let network = self.network.id;
        let plain = |payment| Transaction::new(&network, payment, None);
        let from_keyed = Payment { from: keyed(0), ..good };
        match kind {
            0 => vec![plain(Payment { amount: Amount(balance(&open(0)) + 1), ..good })],
            1 => {
                let all = Payment { amount: Amount(balance(&open(0)).max(1)), ..good };
                let later = all.timestamp.saturating_add(1);
                vec![plain(all), plain(Payment { timestamp: later, ..all })]
            }
            2 => vec![plain(good), plain(good)],
            3 => self.mined_before(view).into_iter().collect(),
            4 => vec![plain(Payment { amount: Amount(0), ..good })],
            5 => vec![plain(Payment { to: good.from, ..good })],
            6 => vec![plain(from_keyed)],
            7 => vec![Transaction::signed(&network, good, &secret_key(0))],
            8 => vec![Transaction::signed(&network, from_keyed, &secret_key(1))],
            9 => vec![self.malleated(&Transaction::signed(&network, from_keyed, &secret_key(0)))],
            10 => vec![plain(Payment {
                timestamp: good.timestamp.saturating_sub(self.past_window_us()),
                ..good
            })],
            11 => vec![plain(Payment {
                timestamp: good.timestamp.saturating_add(self.past_window_us()),
                ..good
            })],
            12 => vec![plain(Payment { from: AccountId([9; 20]), ..good })],
            _ => {
                // As signed for another network.
                let foreign = Transaction::signed(&NetworkId(Hash([3; 32])), from_keyed, &secret_key(0));
                vec![Transaction::new(&network, from_keyed, foreign.authorization().copied())]
            }
        }
    }

    /// One transaction more than a block may hold.
    pub(super) fn too_many(&mut self, view: &View<'_>) -> Vec<Transaction> {
        let count = u64::from(self.network.limits.block_transactions) + 1;
        let first = self.payment(view, AccountId::open("open0"), AccountId::open("open1"), 1);
        let at = |number| Payment { timestamp: first.timestamp.saturating_add(number), ..first };
        (0..count).map(|number| Transaction::new(&self.network.id, at(number), None)).collect()
    }

    /// Pays little to many fresh accounts, and from them.
    pub(super) fn spam(&mut self, view: &View<'_>) -> Vec<Mail> {
        let mut list = Vec::new();
        for _ in 0..self.dice.between(1, 8) {
            self.fresh = (self.fresh + 1) % FRESH_MAX;
            let [fresh, other] = [self.fresh, self.dice.number().to_le_bytes()[0] % FRESH_MAX].map(fresh_key);
            let account = |key: &[u8; 32]| AccountId::keyed(&public_key(key));
            let funding = self.payment(view, AccountId::open("open2"), account(&fresh), 1);
            list.push(Transaction::new(&self.network.id, funding, None));
            // Mostly from nothing, now and then from what came before.
            let payment = self.payment(view, account(&other), AccountId::open("open2"), 1);
            list.push(Transaction::signed(&self.network.id, payment, &other));
        }
        let bytes = Message::Transactions(list).encode(&self.network);
        self.mail_some(view, &bytes)
    }

    /// All of an account's money to one account and to another, each told to other nodes.
    fn double_spend(&mut self, view: &View<'_>) -> Vec<Mail> {
        let from = AccountId::open("open1");
        let cents = view.store.balances.get(&from).map_or(1, |amount| amount.0.max(1));
        let mut mails = Vec::new();
        for to in ["open0", "open2"] {
            let payment = self.payment(view, from, AccountId::open(to), cents);
            let list = vec![Transaction::new(&self.network.id, payment, None)];
            let bytes = Message::Transactions(list).encode(&self.network);
            mails.extend(self.mail_some(view, &bytes));
        }
        mails
    }

    fn payment(&mut self, view: &View<'_>, from: AccountId, to: AccountId, cents: u64) -> Payment {
        let timestamp = view.now.saturating_add(self.dice.below(1000));
        Payment { from, to, amount: Amount(cents), timestamp }
    }

    /// A transaction of the best chain.
    fn mined_before(&mut self, view: &View<'_>) -> Option<Transaction> {
        let block = view.below_tip(self.dice.below(20));
        block.transactions.first().cloned()
    }

    fn past_window_us(&self) -> u64 {
        self.network.limits.window_us() + 200 * SECOND_US
    }

    /// The transaction with another signature that a careless check would take for valid, or merely with a bad one.
    fn malleated(&mut self, transaction: &Transaction) -> Transaction {
        let mut authorization: Authorization = *transaction.authorization().expect("it is signed");
        if self.dice.chance(500) {
            let mut carry = 0;
            for (byte, order) in authorization.signature[32..].iter_mut().zip(GROUP_ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        } else {
            authorization.signature[usize::from(self.dice.number().to_le_bytes()[0] % 64)] ^= 1;
        }
        Transaction::new(&self.network.id, *transaction.payment(), Some(authorization))
    }
}

/// The secret key of a fresh account.
fn fresh_key(number: u8) -> [u8; 32] {
    let mut key = [0xa5; 32];
    key[0] = number;
    key
}
