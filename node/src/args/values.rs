//! Option values with meanings of their own, parsed before the program sees them.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

use miner::cpu::duty::CpuLimit;
use miner::cpu::kernel::{Kernel, KernelError};
use quarry_core::units::{Hash, Height, NodeId};

/// How many digits a hash has.
const HASH_TEXT_LEN: usize = 64;

/// A backend, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendChoice(pub Option<miner::Backend>);

/// A kernel, or the fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelChoice(pub Option<Kernel>);

/// A number of midstates, from 1 to [`miner::HEADS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Midstates(pub NonZeroUsize);

/// A share of CPU time, or the one that costs nothing extra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitChoice(pub Option<CpuLimit>);

/// Where the web pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpChoice {
    /// On this machine, at a port that follows from the node's number, if it is free.
    Auto,
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

/// A fixed list of peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerList(pub Vec<NodeId>);

/// A block of the best chain by height, or any block by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockRef {
    /// By height.
    Height(Height),
    /// By hash.
    Hash(Hash),
}

/// A number of transactions a second; infinity for as many as possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

/// Hashes a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HashRate(pub f64);

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|backend| Self(Some(backend)))
            .map_err(|error: miner::backend::UnknownBackend| format!("{error}, none"))
    }
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        text.parse().map(|kernel| Self(Some(kernel))).map_err(|error: KernelError| error.to_string())
    }
}

impl FromStr for Midstates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<NonZeroUsize>() {
            Ok(count) if count.get() <= miner::HEADS_MAX => Ok(Self(count)),
            _ => Err(format!("not a number from 1 to {}", miner::HEADS_MAX)),
        }
    }
}

impl FromStr for LimitChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let limit = text.trim_end_matches('%').parse().ok().and_then(CpuLimit::percent);
        limit.map(|limit| Self(Some(limit))).ok_or_else(|| "not auto or a number from 0.1 to 100".to_owned())
    }
}

impl std::fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.map_or("none", miner::Backend::name))
    }
}

impl std::fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.map_or("auto", Kernel::name))
    }
}

impl std::fmt::Display for LimitChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(limit) => limit.as_percent().fmt(f),
            None => f.write_str("auto"),
        }
    }
}

impl FromStr for PeerList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let ids = text.split(',').map(|id| id.trim().parse::<NodeId>());
        ids.collect::<Result<_, _>>().map(Self).map_err(|error| error.to_string())
    }
}

impl FromStr for HttpChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| "neither auto, off, nor an address such as 127.0.0.1:8080".into()),
        }
    }
}

impl FromStr for BlockRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A hash may consist of decimal digits alone, and begins with zeros.
        if let (Ok(height), true) = (text.parse(), text.len() < HASH_TEXT_LEN) {
            return Ok(Self::Height(Height(height)));
        }
        let hash = text.parse().map(Self::Hash);
        hash.map_err(|_| "neither a height nor a hash of 64 hex digits".to_owned())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "max" => Ok(Self(f64::INFINITY)),
            // Less than one a day is a slip; more than the upper end is `max` on any machine.
            Ok(rate) if rate == 0.0 || (1e-5..=1e6).contains(&rate) => Ok(Self(rate)),
            _ => Err("neither 0, nor a number from 0.00001 to 1000000, nor `max`".to_owned()),
        }
    }
}

impl FromStr for HashRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().trim_end_matches("H/s").trim_end();
        let (number, factor) = match number.chars().last() {
            Some('k') => (&number[..number.len() - 1], 1e3),
            Some('M') => (&number[..number.len() - 1], 1e6),
            Some('G') => (&number[..number.len() - 1], 1e9),
            Some('T') => (&number[..number.len() - 1], 1e12),
            _ => (number, 1.0),
        };
        match number.trim_end().parse::<f64>() {
            Ok(value) if (1.0..=1e24).contains(&(value * factor)) => Ok(Self(value * factor)),
            _ => Err("not a number of at least 1, with k, M, G or T for more".to_owned()),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_finite() { self.0.fmt(f) } else { f.write_str("max") }
    }
}
