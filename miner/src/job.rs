//! What to search: the header bytes that stay, and the target.
//! Invariant: everything derived here is a function of heads, tail and target alone, so a job never goes out of date.

use sha2::digest::generic_array::GenericArray;
use sha2::{Digest, Sha256, compress256};

use crate::search::Hit;
use crate::sha256::{self, INITIAL_STATE, K};

/// Bytes of a header.
pub const HEADER_LEN: usize = 116;
/// Bytes of a header's first block, which the extra nonce changes.
pub const HEAD_LEN: usize = 64;
/// Bytes of a header after its first block, the nonce included.
pub const TAIL_LEN: usize = HEADER_LEN - HEAD_LEN;
/// Where the big-endian nonce begins in the tail.
pub const NONCE_AT: usize = TAIL_LEN - 8;
/// The most heads a job may have; beyond this the gain is below what can be measured.
pub const HEADS_MAX: usize = 256;

/// Headers that differ in their first block (one head per extra nonce) and in the nonce, and the target to stay below.
#[derive(Clone, Debug)]
pub struct Job {
    heads: Vec<Head>,
    tail: [u8; TAIL_LEN],
    target: [u8; 32],
}

impl Job {
    /// A job over `heads.len()` first blocks and one tail, whose last eight bytes the search overwrites.
    ///
    /// A hash hits when it is strictly less than `target`, both read as big-endian numbers.
    pub fn new(heads: &[[u8; HEAD_LEN]], tail: [u8; TAIL_LEN], target: [u8; 32]) -> Result<Self, JobError> {
        if heads.is_empty() {
            return Err(JobError::NoHeads);
        }
        if HEADS_MAX < heads.len() {
            return Err(JobError::TooManyHeads { heads: heads.len() });
        }
        let known: [u32; 11] = sha256::words(&tail[..NONCE_AT]);
        let heads = heads.iter().map(|block| Head::new(block, &known)).collect();
        Ok(Self { heads, tail, target })
    }

    /// A job over the nonces of a single header.
    pub fn of_header(header: &[u8; HEADER_LEN], target: [u8; 32]) -> Self {
        let (head, tail) = header.split_at(HEAD_LEN);
        let head = head.try_into().expect("HEAD_LEN bytes are split off");
        let tail = tail.try_into().expect("TAIL_LEN bytes are left");
        Self::new(&[head], tail, target).expect("one head is within bounds")
    }

    /// How many heads the job has; at least 1, at most [`HEADS_MAX`].
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// What a hash has to be strictly less than.
    pub fn target(&self) -> &[u8; 32] {
        &self.target
    }

    /// The header that a hit stands for.
    ///
    /// # Panics
    /// If the job has no such head.
    pub fn header(&self, hit: Hit) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..HEAD_LEN].copy_from_slice(&self.heads[hit.head].block);
        header[HEAD_LEN..].copy_from_slice(&self.tail);
        header[HEAD_LEN + NONCE_AT..].copy_from_slice(&hit.nonce.to_be_bytes());
        header
    }

    /// The hash of [`Job::header`], computed in the plainest way: no backend has a part in it.
    ///
    /// # Panics
    /// If the job has no such head.
    pub fn hash(&self, hit: Hit) -> [u8; 32] {
        Sha256::digest(self.header(hit)).into()
    }

    /// Whether a hit is one. False for a head that the job does not have.
    pub fn check(&self, hit: Hit) -> bool {
        hit.head < self.heads.len() && self.hash(hit) < self.target
    }

    pub(crate) fn midstates(&self) -> impl Iterator<Item = &[u32; 8]> {
        self.heads.iter().map(|head| &head.midstate)
    }

    /// Per head, its midstate and its state after the eleven rounds of the second block that no nonce reaches.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&[u32; 8], &[u32; 8])> {
        self.heads.iter().map(|head| (&head.midstate, &head.state))
    }

    /// The tail with the padding of a message of [`HEADER_LEN`] bytes; the nonce is left as the caller gave it.
    pub(crate) fn last_block(&self) -> [u8; 64] {
        let mut block = [0; 64];
        block[..TAIL_LEN].copy_from_slice(&self.tail);
        block[TAIL_LEN] = 0x80;
        block[56..].copy_from_slice(&(HEADER_LEN as u64 * 8).to_be_bytes());
        block
    }
}

/// Why bytes do not make a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// There is nothing to search without a head.
    #[error("a job needs at least one head")]
    NoHeads,
    /// More than [`HEADS_MAX`] heads.
    #[error("a job of {heads} heads is over the limit of {HEADS_MAX}")]
    TooManyHeads {
        /// How many were asked for.
        heads: usize,
    },
}

/// One first block, and how far SHA-256 comes without the nonce.
#[derive(Clone, Debug)]
struct Head {
    block: [u8; HEAD_LEN],
    midstate: [u32; 8],
    /// After rounds 0 to 10 of the second block.
    state: [u32; 8],
}

impl Head {
    fn new(block: &[u8; HEAD_LEN], known: &[u32; 11]) -> Self {
        let mut midstate = INITIAL_STATE;
        compress256(&mut midstate, &[GenericArray::from(*block)]);
        let kw = known.iter().zip(K).map(|(w, k)| k.wrapping_add(*w));
        let state = kw.fold(midstate, sha256::round);
        Self { block: *block, midstate, state }
    }
}
