//! What all nodes of a network must agree on before the first block, and the [`NetworkId`] that stands for it.
//! Invariant: a [`Network`] has passed every rule of [`NetworkError`], so nothing later needs to doubt it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::header::Header;
use crate::target::{Bits, BitsError, ZerosError};
use crate::units::{AccountId, Amount, Hash, Height, NetworkId, ParseError, Timestamp};

/// Bytes that a message has room for besides the transactions of the block that it carries.
pub const MESSAGE_OVERHEAD: u32 = 2048;
/// The most bytes that one transaction takes in a message.
pub const TRANSACTION_JSON_MAX: u32 = 512;
/// The smallest message limit with which locators, single transactions and a useful number of headers fit.
pub const MESSAGE_BYTES_MIN: u32 = 16 * 1024;
/// The message limit where a network file names none: what many queue tools stop at, 256 KiB, less a kibibyte for the
/// attributes that a queue counts in.
const MESSAGE_BYTES_DEFAULT: u32 = 255 * 1024;
/// The largest message limit.
pub const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// The longest block time, in seconds.
const BLOCK_TIME_MAX: u32 = 86_400;

/// The agreed parameters of a network, ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Identifies the network in every message and file.
    pub id: NetworkId,
    /// Names the network to people and in queue names.
    pub name: String,
    /// The first block.
    pub genesis: Header,
    /// The accounts that exist from the start, in the order of the network file.
    pub accounts: Vec<Account>,
    /// The difficulty of every block, or, with a block time, of the first ones.
    pub bits: Bits,
    /// The interval between blocks that the difficulty aims at, in microseconds; 0 where the difficulty is fixed.
    pub block_time_us: u64,
    /// What a block pays to its miner.
    pub reward: Amount,
    /// The limits that blocks and messages keep.
    pub limits: Limits,
    ids: BTreeMap<String, AccountId>,
    roles: BTreeMap<AccountId, usize>,
}

/// An account that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What people call it.
    pub name: String,
    /// What transactions call it.
    pub id: AccountId,
    /// What it holds in the first block.
    pub balance: Amount,
    /// Whether anybody may spend from it without a signature.
    pub open: bool,
}

/// The limits that blocks and messages keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most transactions in a block.
    pub block_transactions: u32,
    /// The most bytes in a message.
    pub message_bytes: u32,
    /// How many seconds a transaction's timestamp may be away from that of the block that holds it.
    pub transaction_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { block_transactions: 500, message_bytes: MESSAGE_BYTES_DEFAULT, transaction_window: 7200 }
    }
}

impl Limits {
    /// The window of [`Limits::transaction_window`] in microseconds.
    pub fn window_us(&self) -> u64 {
        u64::from(self.transaction_window) * 1_000_000
    }
}

/// A network file as it is written: the text form of a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// 1 to 40 letters, digits, `-` or `_`.
    pub name: String,
    /// The timestamp of the first block.
    pub genesis_time: Timestamp,
    /// Leading hex zeros of every block's hash, or a compact target.
    pub difficulty: Difficulty,
    /// The seconds between blocks that the difficulty aims at, from 1 to 86,400; 0, the default, fixes the difficulty.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub block_time: u32,
    /// What a block pays to its miner, `"0.00"` where it is left out.
    #[serde(default = "nothing")]
    pub reward: String,
    /// The limits, each with a default.
    #[serde(default)]
    pub limits: Limits,
    /// The accounts that exist from the start.
    pub accounts: Vec<AccountEntry>,
}

/// A difficulty as a network file gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Difficulty {
    /// A count of leading hex zeros.
    Zeros(u32),
    /// A compact target as eight hex digits.
    Bits(Bits),
}

/// An account as a network file gives it: `open = true`, or else a `key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEntry {
    /// 1 to 32 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// What the account holds in the first block.
    pub balance: String,
    /// Whether anybody may spend from it without a signature.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub open: bool,
    /// The Ed25519 public key whose holder may spend from it, as 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Why a network file does not describe a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The network's name cannot be part of a queue's name.
    #[error("the network's name is not 1 to 40 letters, digits, `-` or `_`: `{0}`")]
    Name(String),
    /// An account's name is not one.
    #[error(
        "an account's name is not 1 to 32 letters, digits, `-`, `_` or `.`, or it looks like an id: `{0}`"
    )]
    AccountName(String),
    /// Two accounts have the same name.
    #[error("two accounts are named `{0}`")]
    SameName(String),
    /// Two accounts have the same key.
    #[error("accounts `{0}` and `{1}` have the same key")]
    SameKey(String, String),
    /// Nobody could spend from the account, or it is unclear who may.
    #[error("account `{0}` needs either `open = true` or a `key`")]
    Owner(String),
    /// An amount or key is malformed.
    #[error("{field}: {error}")]
    Field {
        /// Where it stands.
        field: String,
        /// What is wrong.
        error: ParseError,
    },
    /// More money than an amount can say.
    #[error("the balances add up to more than 184467440737095516.15")]
    Supply,
    /// No such number of zeros.
    #[error("difficulty: {0}")]
    Zeros(#[from] ZerosError),
    /// No such compact target.
    #[error("difficulty: {0}")]
    Bits(#[from] BitsError),
    /// No such block time.
    #[error("block_time is {0} s, not 0 or between 1 and 86400")]
    BlockTime(u32),
    /// A difficulty that the retargeting could never reach.
    #[error("with a block_time the difficulty is at least one hex zero: bits {0} are easier")]
    TooEasy(Bits),
    /// Blocks could hold nothing.
    #[error("limits.block_transactions is 0")]
    NoTransactions,
    /// No transaction could ever be valid for long enough to be mined.
    #[error("limits.transaction_window is {0} s; at least 60 s are needed")]
    Window(u32),
    /// A full block would not fit into a message.
    #[error(
        "limits.message_bytes is {bytes}, not between {needed} (what {transactions} transactions in a block need) \
         and {MESSAGE_BYTES_MAX}"
    )]
    MessageBytes {
        /// The setting.
        bytes: u32,
        /// The least that would do.
        needed: u64,
        /// The setting that it follows from.
        transactions: u32,
    },
}

/// The account's name or id is unknown here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no account of this network is named `{0}`, and it is not an id of 40 hex digits")]
pub struct UnknownAccount(pub String);

impl Network {
    /// The original's demonstration: four open accounts of 10.00, five hex zeros.
    pub fn demo() -> Self {
        Self::new(&NetworkFile::demo()).expect("the demo network keeps every rule")
    }

    /// Checks a network file.
    pub fn new(file: &NetworkFile) -> Result<Self, NetworkError> {
        if !is_name(&file.name, 40, "-_") {
            return Err(NetworkError::Name(file.name.clone()));
        }
        let bits = match &file.difficulty {
            Difficulty::Zeros(zeros) => Bits::from_zeros(*zeros)?,
            Difficulty::Bits(bits) => *bits,
        };
        let target = bits.target()?;
        if BLOCK_TIME_MAX < file.block_time {
            return Err(NetworkError::BlockTime(file.block_time));
        }
        if file.block_time != 0 && Bits::from_zeros(1)?.target()? < target {
            return Err(NetworkError::TooEasy(bits));
        }
        check_limits(&file.limits)?;
        let reward = parse("reward", &file.reward)?;
        let accounts = file.accounts.iter().map(account).collect::<Result<Vec<_>, _>>()?;
        let mut ids = BTreeMap::new();
        let mut roles: BTreeMap<AccountId, usize> = BTreeMap::new();
        let mut supply = Amount::default();
        for (position, account) in accounts.iter().enumerate() {
            if ids.insert(account.name.clone(), account.id).is_some() {
                return Err(NetworkError::SameName(account.name.clone()));
            }
            if let Some(other) = roles.insert(account.id, position) {
                return Err(NetworkError::SameKey(accounts[other].name.clone(), account.name.clone()));
            }
            supply = supply.checked_add(account.balance).ok_or(NetworkError::Supply)?;
        }
        let id = network_id(file, bits, reward, &accounts);
        let genesis = Header {
            prev_hash: Hash::default(),
            tx_root: id.0,
            version: Header::VERSION,
            bits,
            index: Height(0),
            timestamp: file.genesis_time,
            miner: AccountId::default(),
            nonce: 0,
        };
        let (name, limits) = (file.name.clone(), file.limits);
        let block_time_us = u64::from(file.block_time) * 1_000_000;
        Ok(Self { id, name, genesis, accounts, bits, block_time_us, reward, limits, ids, roles })
    }

    /// The id of an account given by name or as 40 hex digits.
    pub fn account(&self, text: &str) -> Result<AccountId, UnknownAccount> {
        match self.ids.get(text) {
            Some(id) => Ok(*id),
            None => text.parse().map_err(|_| UnknownAccount(text.chars().take(80).collect())),
        }
    }

    /// The account's name, or its id in hex where it has none.
    pub fn account_text(&self, id: &AccountId) -> String {
        match self.roles.get(id) {
            Some(&position) => self.accounts[position].name.clone(),
            None => id.to_string(),
        }
    }

    /// Whether anybody may spend from the account.
    pub fn is_open(&self, id: &AccountId) -> bool {
        self.roles.get(id).is_some_and(|&position| self.accounts[position].open)
    }

    /// All the money there is at a height: what the accounts held in the first block and a reward for every other.
    /// `None` where no amount can say it.
    pub fn supply_at(&self, height: Height) -> Option<Amount> {
        let genesis = self.accounts.iter().map(|account| account.balance.0).sum();
        self.reward.0.checked_mul(height.0).and_then(|rewards| rewards.checked_add(genesis)).map(Amount)
    }

    /// The first block in full: it has no transactions.
    pub fn genesis_block(&self) -> Block {
        Block { header: self.genesis, extra_nonce: 0, transactions: Vec::new() }
    }
}

impl NetworkFile {
    /// The file that the built-in demo network would have.
    pub fn demo() -> Self {
        let accounts = (0..4).map(|number| AccountEntry::open(&alloc::format!("node{number}"), Amount(1000)));
        Self {
            name: "demo".into(),
            genesis_time: Timestamp::from_micros(1_767_225_600_000_000).expect("2026 has a text form"),
            difficulty: Difficulty::Zeros(5),
            block_time: 0,
            reward: nothing(),
            limits: Limits::default(),
            accounts: accounts.collect(),
        }
    }
}

impl AccountEntry {
    /// An account that anybody may spend from.
    pub fn open(name: &str, balance: Amount) -> Self {
        Self { name: name.into(), balance: balance.to_string(), open: true, key: None }
    }

    /// An account that the holder of the key may spend from.
    pub fn keyed(name: &str, balance: Amount, public_key: &[u8; 32]) -> Self {
        let key = Some(const_hex::encode(public_key));
        Self { name: name.into(), balance: balance.to_string(), open: false, key }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn nothing() -> String {
    Amount::default().to_string()
}

fn is_name(text: &str, len_max: usize, marks: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    !text.is_empty() && text.len() <= len_max && text.chars().all(allowed)
}

fn parse<T: core::str::FromStr<Err = ParseError>>(field: &str, text: &str) -> Result<T, NetworkError> {
    text.parse().map_err(|error| NetworkError::Field { field: field.into(), error })
}

fn check_limits(limits: &Limits) -> Result<(), NetworkError> {
    if limits.block_transactions == 0 {
        return Err(NetworkError::NoTransactions);
    }
    if limits.transaction_window < 60 {
        return Err(NetworkError::Window(limits.transaction_window));
    }
    let block =
        u64::from(MESSAGE_OVERHEAD) + u64::from(limits.block_transactions) * u64::from(TRANSACTION_JSON_MAX);
    let needed = block.max(u64::from(MESSAGE_BYTES_MIN));
    if u64::from(limits.message_bytes) < needed || MESSAGE_BYTES_MAX < limits.message_bytes {
        let (bytes, transactions) = (limits.message_bytes, limits.block_transactions);
        return Err(NetworkError::MessageBytes { bytes, needed, transactions });
    }
    Ok(())
}

fn account(entry: &AccountEntry) -> Result<Account, NetworkError> {
    let name = entry.name.clone();
    if !is_name(&name, 32, "-_.") {
        return Err(NetworkError::AccountName(name));
    }
    let balance = parse(&alloc::format!("balance of account `{name}`"), &entry.balance)?;
    let id = match (&entry.key, entry.open) {
        (None, true) => AccountId::open(&name),
        (Some(key), false) => {
            let key: Hash = parse(&alloc::format!("key of account `{name}`"), key)?;
            AccountId::keyed(&key.0)
        }
        _ => return Err(NetworkError::Owner(name)),
    };
    Ok(Account { name, id, balance, open: entry.open })
}

/// # Consensus
/// The id covers every field in a fixed binary form, so that files that differ only in layout are one network.
fn network_id(file: &NetworkFile, bits: Bits, reward: Amount, accounts: &[Account]) -> NetworkId {
    let mut bytes = Vec::new();
    // Lengths first: no two lists of fields share a form.
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    text(&mut bytes, &file.name);
    bytes.extend(file.genesis_time.micros().to_be_bytes());
    bytes.extend(bits.0.to_be_bytes());
    bytes.extend(file.block_time.to_be_bytes());
    bytes.extend(reward.0.to_be_bytes());
    bytes.extend(file.limits.block_transactions.to_be_bytes());
    bytes.extend(file.limits.message_bytes.to_be_bytes());
    bytes.extend(file.limits.transaction_window.to_be_bytes());
    for account in accounts {
        text(&mut bytes, &account.name);
        bytes.extend(account.id.0);
        bytes.extend(account.balance.0.to_be_bytes());
        bytes.push(u8::from(account.open));
    }
    NetworkId(Hash::of(&[b"quarry network 1\0", &bytes]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut NetworkFile), expected: NetworkError) {
        let mut file = NetworkFile::demo();
        change(&mut file);
        assert_eq!(Network::new(&file), Err(expected));
    }

    #[test]
    fn every_rule_of_a_network_file_is_checked() {
        let key = const_hex::encode([7; 32]);
        check(|file| file.name = "a b".into(), NetworkError::Name("a b".into()));
        check(|file| file.name = "n".repeat(41), NetworkError::Name("n".repeat(41)));
        check(|file| file.accounts[0].name = "é".into(), NetworkError::AccountName("é".into()));
        check(|file| file.accounts[1].name = "node0".into(), NetworkError::SameName("node0".into()));
        check(|file| file.accounts[0].key = Some(key.clone()), NetworkError::Owner("node0".into()));
        check(|file| file.accounts[0].open = false, NetworkError::Owner("node0".into()));
        let twice = |file: &mut NetworkFile| {
            for account in &mut file.accounts[..2] {
                (account.open, account.key) = (false, Some(key.clone()));
            }
        };
        check(twice, NetworkError::SameKey("node0".into(), "node1".into()));
        let error = ParseError::Amount("-1".into());
        check(|file| file.reward = "-1".into(), NetworkError::Field { field: "reward".into(), error });
        check(|file| file.accounts[0].balance = Amount(u64::MAX).to_string(), NetworkError::Supply);
        check(|file| file.difficulty = Difficulty::Zeros(0), NetworkError::Zeros(ZerosError(0)));
        check(|file| file.difficulty = Difficulty::Bits(Bits(0)), NetworkError::Bits(BitsError::Zero(0)));
        check(|file| file.block_time = 86_401, NetworkError::BlockTime(86_401));
        let easy = Bits(0x2100_ffff);
        check(
            |file| (file.difficulty, file.block_time) = (Difficulty::Bits(easy), 1),
            NetworkError::TooEasy(easy),
        );
        check(|file| file.limits.block_transactions = 0, NetworkError::NoTransactions);
        check(|file| file.limits.transaction_window = 59, NetworkError::Window(59));
        let needed = u64::from(MESSAGE_OVERHEAD + 1000 * TRANSACTION_JSON_MAX);
        let error = NetworkError::MessageBytes { bytes: 261_120, needed, transactions: 1000 };
        check(|file| file.limits.block_transactions = 1000, error);
    }

    #[test]
    fn every_field_changes_the_id() {
        let changes: [fn(&mut NetworkFile); 9] = [
            |file| file.name.push('x'),
            |file| file.genesis_time = file.genesis_time.saturating_add(1),
            |file| file.difficulty = Difficulty::Zeros(6),
            |file| file.block_time = 10,
            |file| file.reward = "0.01".into(),
            |file| file.limits.block_transactions = 499,
            |file| file.limits.message_bytes += 1,
            |file| file.limits.transaction_window += 1,
            |file| file.accounts[0].balance = "9.99".into(),
        ];
        let mut ids = alloc::collections::BTreeSet::from([Network::demo().id]);
        for change in changes {
            let mut file = NetworkFile::demo();
            change(&mut file);
            assert!(ids.insert(Network::new(&file).unwrap().id));
        }
    }

    #[test]
    fn accounts_are_known_by_name_and_by_id() {
        let network = Network::demo();
        let node0 = network.account("node0").unwrap();
        assert_eq!(network.account(&node0.to_string()), Ok(node0));
        assert_eq!(network.account_text(&node0), "node0");
        assert!(network.is_open(&node0));
        assert_eq!(network.account("node9"), Err(UnknownAccount("node9".into())));
        assert_eq!(network.account_text(&AccountId::default()), "0".repeat(40));
    }
}
