//! The transactions of the system that this one follows, as its TransactionGenerator sends them.
//!
//! Such a transaction is unsigned and names its time without a zone, which is read as UTC. Its `unique_id` is the
//! SHA-256 of the other fields as Python's `json.dumps` prints them. Invariant: a number is only ever taken from its
//! digits; no float comes between what was hashed and what is paid.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::network::{Network, UnknownAccount};
use crate::rules::{TransactionError, check_transaction};
use crate::transaction::{Payment, Transaction};
use crate::units::{Amount, Hash, ParseError, Timestamp};

/// The most bytes that are looked at; the longest names and numbers take less than half of it.
pub const ORIGINAL_BYTES_MAX: usize = 1024;

/// Why bytes are not a transaction of the original that this network can take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginalError {
    /// Far longer than any such transaction.
    #[error("{0} bytes, but a transaction of the original has at most {ORIGINAL_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON, or not the fields that are wanted.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The id is not the digest of the other fields.
    #[error("unique_id is {claimed}, but the other fields' is {computed}")]
    UniqueId {
        /// As it stands there.
        claimed: Hash,
        /// As it should be.
        computed: Hash,
    },
    /// The amount is no number of cents, such as `1e-05` or `0.123`.
    #[error("amount: {0}")]
    Amount(ParseError),
    /// The time is not as Python prints one.
    #[error("timestamp: {0}")]
    Timestamp(ParseError),
    /// An account is neither a name nor an id.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    /// It breaks a rule of this network: the sender's account is keyed, say.
    #[error(transparent)]
    Rule(#[from] TransactionError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents<'a> {
    #[serde(borrow)]
    to_node: Cow<'a, str>,
    #[serde(borrow)]
    from_node: Cow<'a, str>,
    #[serde(borrow)]
    amount: &'a RawValue,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    unique_id: Hash,
}

/// The transaction of this network that the text of an original message's `contents` stands for.
pub fn transaction(contents: &[u8], network: &Network) -> Result<Transaction, OriginalError> {
    if ORIGINAL_BYTES_MAX < contents.len() {
        return Err(OriginalError::TooLarge(contents.len()));
    }
    let malformed =
        |error: serde_json::Error| OriginalError::Malformed(error.to_string().chars().take(200).collect());
    let contents: Contents<'_> = serde_json::from_slice(contents).map_err(malformed)?;
    let (claimed, computed) = (contents.unique_id, contents.unique_id());
    if claimed != computed {
        return Err(OriginalError::UniqueId { claimed, computed });
    }
    let payment = Payment {
        from: network.account(&contents.from_node)?,
        to: network.account(&contents.to_node)?,
        amount: contents.amount.get().parse::<Amount>().map_err(OriginalError::Amount)?,
        timestamp: timestamp(&contents.timestamp).map_err(OriginalError::Timestamp)?,
    };
    let transaction = Transaction::new(&network.id, payment, None);
    check_transaction(&transaction, network)?;
    Ok(transaction)
}

impl Contents<'_> {
    /// SHA-256 of the other four fields as `json.dumps` prints a dictionary of them.
    fn unique_id(&self) -> Hash {
        let text = format!(
            r#"{{"to_node": {}, "from_node": {}, "amount": {}, "timestamp": {}}}"#,
            python_string(&self.to_node),
            python_string(&self.from_node),
            self.amount.get(),
            python_string(&self.timestamp)
        );
        Hash::of(&[text.as_bytes()])
    }
}

/// A string as `json.dumps` prints it: in ASCII, everything else as UTF-16 escapes.
fn python_string(text: &str) -> String {
    let mut printed = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => printed.push_str("\\\""),
            '\\' => printed.push_str("\\\\"),
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\t' => printed.push_str("\\t"),
            '\u{8}' => printed.push_str("\\b"),
            '\u{c}' => printed.push_str("\\f"),
            ' '..='~' => printed.push(character),
            _ => {
                let units = &mut [0; 2];
                for unit in character.encode_utf16(units) {
                    printed.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    printed.push('"');
    printed
}

/// A time as `str(datetime)` prints it: with six decimals, or with none where they would be zeros. Nothing else is
/// read, because what looks like a zone could be dropped silently.
fn timestamp(text: &str) -> Result<Timestamp, ParseError> {
    let timestamp: Timestamp = text.parse()?;
    let full = timestamp.to_string();
    let is_printed_so = text == full || full.strip_suffix(".000000") == Some(text);
    if is_printed_so { Ok(timestamp) } else { Err(ParseError::Timestamp(text.chars().take(80).collect())) }
}
