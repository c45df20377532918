//! The small types that everything else is said in: digests, amounts, heights, times and names.
//! Invariant: a value of one of these types is in range and has exactly one text form, which parses back to it.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use jiff::civil;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// A SHA-256 digest: of a block's header, of a transaction, of a node of a Merkle tree.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The first eight hex digits, for logs and tables.
    pub fn short(&self) -> String {
        const_hex::encode(&self.0[..4])
    }
}

/// The first 20 bytes of a digest that says who owns the account: see [`AccountId::keyed`] and [`AccountId::open`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 20]);

impl AccountId {
    /// The account that the holder of an Ed25519 public key may spend from.
    pub fn keyed(public_key: &[u8; 32]) -> Self {
        Self::truncate(Hash::of(&[public_key]))
    }

    /// An account of the genesis file that anybody may spend from.
    pub fn open(name: &str) -> Self {
        Self::truncate(Hash::of(&[b"quarry open account\0", name.as_bytes()]))
    }

    fn truncate(hash: Hash) -> Self {
        let mut id = [0; 20];
        id.copy_from_slice(&hash.0[..20]);
        Self(id)
    }
}

/// Identifies a network: the digest of everything its nodes must agree on before the first block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub Hash);

/// Identifies a transaction: the digest of its content without the signature, bound to its network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub Hash);

/// A node's number within its network, and the name of its inbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

/// How many blocks stand between a block and genesis.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    /// The height of the next block.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("2^64 blocks are out of reach"))
    }
}

/// An amount of money in cents. Its text has two decimals: `0.13`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

impl Amount {
    /// The sum, or `None` where it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` where it would be negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

/// A time in microseconds since the Unix epoch, UTC, up to the last days of the year 9999.
/// Its text is `2020-05-08 08:40:07.405769`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last time that has a text form.
    pub const MAX: Self = Self(253_402_207_199_999_999);

    /// The time so many microseconds after the Unix epoch; `None` past [`Timestamp::MAX`].
    pub fn from_micros(micros: u64) -> Option<Self> {
        (micros <= Self::MAX.0).then_some(Self(micros))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// This time moved on by `micros`, stopping at [`Timestamp::MAX`].
    pub fn saturating_add(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros).min(Self::MAX.0))
    }

    /// This time moved back by `micros`, stopping at the epoch.
    pub fn saturating_sub(self, micros: u64) -> Self {
        Self(self.0.saturating_sub(micros))
    }
}

/// Why a text is not a value of one of these types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not the right number of hex digits.
    #[error("not {digits} hex digits: `{text}`")]
    Hex {
        /// How many are wanted.
        digits: usize,
        /// The text.
        text: String,
    },
    /// Not an amount of cents.
    #[error("not an amount from 0.00 to 184467440737095516.15 with at most two decimals: `{0}`")]
    Amount(String),
    /// Not a time between 1970 and 9999.
    #[error("not a UTC time like `2020-05-08 08:40:07.405769` from 1970 to 9999: `{0}`")]
    Timestamp(String),
    /// Not a node's number.
    #[error("not a node number from 0 to 65535: `{0}`")]
    NodeId(String),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = alloc::format!("{}.{:02}", self.0 / 100, self.0 % 100);
        f.pad(&text)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Amount(excerpt(text));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || 2 < decimals.len() {
            return Err(error());
        }
        let mut cents: u64 = decimals.parse().map_err(|_| error())?;
        if decimals.len() == 1 {
            cents *= 10;
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        whole.checked_mul(100).and_then(|value| value.checked_add(cents)).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).map_err(|_| fmt::Error)?;
        let instant = jiff::Timestamp::from_microsecond(micros).map_err(|_| fmt::Error)?;
        let mut text = String::with_capacity(26);
        DateTimePrinter::new()
            .separator(b' ')
            .precision(Some(6))
            .print_datetime(&TimeZone::UTC.to_datetime(instant), &mut text)
            .map_err(|_| fmt::Error)?;
        f.pad(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    /// Reads a time without a zone as UTC.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let datetime: civil::DateTime = DateTimeParser::new().parse_datetime(text).ok()?;
            let micros = TimeZone::UTC.to_timestamp(datetime).ok()?.as_microsecond();
            Self::from_micros(u64::try_from(micros).ok()?)
        };
        parse().ok_or_else(|| ParseError::Timestamp(excerpt(text)))
    }
}

impl FromStr for NodeId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self).map_err(|_| ParseError::NodeId(excerpt(text)))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! hex_text {
    ($($name:ident $digits:literal),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&const_hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let prefixed = text.starts_with("0x");
                match const_hex::decode_to_array(text) {
                    Ok(bytes) if !prefixed => Ok(Self(bytes)),
                    _ => Err(ParseError::Hex { digits: $digits, text: excerpt(text) }),
                }
            }
        }
    )*};
}
hex_text!(Hash 64, AccountId 40);

macro_rules! inner_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
inner_text!(NetworkId, TxId, NodeId, Height);

impl FromStr for NetworkId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

impl FromStr for TxId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(FromText(PhantomData))
            }
        }
    )*};
}
serde_as_text!(Hash, AccountId, NetworkId, TxId, Timestamp);

/// Parses a string in place, without a copy of it.
struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err = ParseError>> de::Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The start of a text that may be long and hostile, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn amounts_are_exact_decimals() {
        for (text, cents) in [("0.13", 13), ("0.1", 10), ("7", 700), ("184467440737095516.15", u64::MAX)] {
            assert_eq!(text.parse(), Ok(Amount(cents)), "{text}");
        }
        for text in
            ["", ".", "-1", "+1", "1.", ".5", "0.125", "1e3", "NaN", "184467440737095516.16", " 1", "1_0"]
        {
            assert_eq!(text.parse::<Amount>(), Err(ParseError::Amount(text.into())));
        }
        assert_eq!(Amount(1005).to_string(), "10.05");
    }

    #[test]
    fn timestamps_are_utc_to_the_microsecond() {
        let text = "2020-05-08 08:40:07.405769";
        let timestamp: Timestamp = text.parse().unwrap();
        assert_eq!(timestamp.micros(), 1_588_927_207_405_769);
        assert_eq!(timestamp.to_string(), text);
        assert_eq!(Timestamp::MAX.to_string().parse(), Ok(Timestamp::MAX));
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.micros() + 1), None);
        for text in ["", "1969-12-31 23:59:59", "10000-01-01 00:00:00", "yesterday", "2020-13-01 00:00:00"] {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseError::Timestamp(text.into())));
        }
    }

    #[test]
    fn digests_are_plain_hex() {
        let hash = Hash::of(&[b"a", b"bc"]);
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!(alloc::format!("0x{}", &hash.to_string()[2..]).parse::<Hash>().is_err());
        assert!("ba78".parse::<Hash>().is_err());
    }
}
