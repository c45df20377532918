//! Fetching a peer's better chain: headers first, then, once they prove more work than our own, the blocks.
//! Invariant: each reply moves on by at least one header or block, or the sync ends; so it cannot go in circles. Nor
//! can a peer that is slow keep others waiting: its pace is looked at from time to time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::chain::{Tip, is_better};
use crate::effect::SyncFailure;
use crate::header::Header;
use crate::message::{HASHES_MAX, headers_max};
use crate::network::Network;
use crate::retarget::Window;
use crate::rules::{self, BlockError};
use crate::store::{Overlay, Record, Status, StoreError};
use crate::target::Work;
use crate::units::{Hash, Height, NodeId, Timestamp};

/// How many unknown blocks of a chain that is better already are fetched before more headers are asked for.
const WINDOW: usize = 10_000;
/// How many unknown headers are followed, at 32 bytes each, in the hope that the chain turns out better.
pub const SYNC_HEADERS_MAX: usize = 4_000_000;
/// How often the pace of a sync is looked at while blocks are fetched.
pub const PACE_US: u64 = 30_000_000;
/// How many blocks a peer sends in that time at least where another claims as much: a full one in two seconds.
const PACE_BLOCKS_MIN: usize = HASHES_MAX / 8;

/// One peer's chain being fetched.
#[derive(Debug)]
pub struct Sync {
    /// Whose.
    pub peer: NodeId,
    /// The nonce of the request that waits for a reply.
    pub nonce: u64,
    /// When to stop waiting for it.
    pub deadline_us: u64,
    /// When to look at the pace next; `None` until the request that begins with the headers or with their blocks.
    pub review_us: Option<u64>,
    /// How many blocks have come since the last look.
    arrived: usize,
    last: Option<Link>,
    /// The blocks up to the last header, as far as the difficulty of the next depends on them.
    window: Window,
    unknown: VecDeque<Hash>,
    more: bool,
    fetching: bool,
}

/// The last header received: where the next must continue.
#[derive(Debug, Clone, Copy)]
struct Link {
    hash: Hash,
    header: Header,
    work: Work,
}

/// What a sync wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The headers after this one, or, at the start, after the fork.
    Headers(Option<Hash>),
    /// These blocks.
    Blocks(Vec<Hash>),
    /// Nothing more.
    Finished,
}

impl Sync {
    /// A sync that has not asked for anything yet.
    pub fn new(peer: NodeId) -> Self {
        Self {
            peer,
            nonce: 0,
            deadline_us: 0,
            review_us: None,
            arrived: 0,
            last: None,
            window: Window::default(),
            unknown: VecDeque::new(),
            more: true,
            fetching: false,
        }
    }

    /// Whether the peer's headers have proven that its chain is better, so that its blocks are being fetched.
    pub fn is_fetching(&self) -> bool {
        self.fetching
    }

    /// The work of the chain as far as its headers have proven it.
    pub fn proven(&self) -> Work {
        self.last.map_or_else(Work::default, |last| last.work)
    }

    /// Looks at the pace, and again at `next_us`; answers whether another peer should be asked if one claims as much.
    /// Headers have no pace to keep: a full reply of them costs little, so only an end of them counts.
    pub fn review(&mut self, next_us: u64) -> bool {
        self.review_us = Some(next_us);
        core::mem::take(&mut self.arrived) < PACE_BLOCKS_MIN
    }

    /// Takes a reply with headers.
    pub fn headers(
        &mut self,
        headers: &[Header],
        more: bool,
        tip: &Tip,
        overlay: &Overlay<'_>,
        network: &Network,
        now: Timestamp,
    ) -> Result<Result<Next, SyncFailure>, StoreError> {
        // A peer that dribbles could hold the only sync there is for ever, be it with our own chain.
        if self.fetching || (more && headers.len() < headers_max(&network.limits)) {
            return Ok(Err(SyncFailure::Incoherent));
        }
        for header in headers {
            if let Err(failure) = self.header(header, overlay, network, now)? {
                return Ok(Err(failure));
            }
        }
        self.more = more;
        let better = self.last.is_some_and(|last| is_better(last.work, &last.hash, tip));
        Ok(match better {
            true if !more || WINDOW <= self.unknown.len() => {
                self.fetching = true;
                (self.review_us, self.arrived) = (None, 0);
                Ok(self.wanted())
            }
            false if !more => Err(SyncFailure::NoBetter),
            _ if SYNC_HEADERS_MAX <= self.unknown.len() => Err(SyncFailure::TooLong(SYNC_HEADERS_MAX)),
            _ => Ok(Next::Headers(self.last.map(|last| last.hash))),
        })
    }

    /// Takes a block that a reply holds; an error where it is not the one that is due.
    pub fn block(&mut self, hash: &Hash) -> Result<(), SyncFailure> {
        if self.fetching && self.unknown.pop_front() == Some(*hash) {
            self.arrived += 1;
            Ok(())
        } else {
            Err(SyncFailure::Incoherent)
        }
    }

    /// What to ask for after the blocks taken so far.
    pub fn wanted(&mut self) -> Next {
        if !self.unknown.is_empty() {
            return Next::Blocks(self.unknown.iter().take(HASHES_MAX).copied().collect());
        }
        if !self.more {
            return Next::Finished;
        }
        self.fetching = false;
        (self.review_us, self.arrived) = (None, 0);
        Next::Headers(self.last.map(|last| last.hash))
    }

    fn header(
        &mut self,
        header: &Header,
        overlay: &Overlay<'_>,
        network: &Network,
        now: Timestamp,
    ) -> Result<Result<(), SyncFailure>, StoreError> {
        let refused = |error: BlockError| Ok(Err(SyncFailure::Refused(error)));
        let parent = match self.last {
            Some(last) if last.hash == header.prev_hash => last,
            Some(_) => return Ok(Err(SyncFailure::Incoherent)),
            None => match overlay.record(&header.prev_hash)? {
                Some(Record { status: Status::Invalid, .. }) => {
                    return refused(BlockError::InvalidBranch(header.prev_hash));
                }
                Some(record) => {
                    self.window = Window::ending_with(&record.header, network, |hash| overlay.record(hash))?;
                    Link { hash: header.prev_hash, header: record.header, work: record.work }
                }
                None => return Ok(Err(SyncFailure::Incoherent)),
            },
        };
        let hash = header.hash();
        if let Some(record) = overlay.record(&hash)? {
            if record.status == Status::Invalid {
                return refused(BlockError::InvalidBranch(hash));
            }
            self.window.push(header);
            self.last = Some(Link { hash, header: *header, work: record.work });
            return Ok(Ok(()));
        }
        let work = match rules::check_header(header) {
            Ok((_, work)) => work,
            Err(error) => return refused(error.into()),
        };
        if let Err(error) = rules::check_context(header, &parent.header, &self.window, now, network) {
            return refused(error.into());
        }
        self.window.push(header);
        self.unknown.push_back(hash);
        self.last = Some(Link { hash, header: *header, work: parent.work + work });
        Ok(Ok(()))
    }
}

/// Hashes of the best chain from the tip down, ever further apart, the first block last.
pub fn locator(overlay: &Overlay<'_>, tip: &Tip) -> Result<Vec<Hash>, StoreError> {
    let mut hashes = Vec::new();
    let (mut height, mut step) = (tip.header.index.0, 1);
    loop {
        hashes.extend(overlay.path(Height(height))?);
        if height == 0 {
            return Ok(hashes);
        }
        if 8 <= hashes.len() {
            step *= 2;
        }
        height = height.saturating_sub(step);
    }
}

/// At most `count_max` headers of the best chain after the first hash of a locator that is on it, and whether more
/// follow.
pub fn headers_after(
    overlay: &Overlay<'_>,
    locator: &[Hash],
    tip: &Tip,
    count_max: usize,
) -> Result<(Vec<Header>, bool), StoreError> {
    let mut fork = Height(0);
    for hash in locator {
        if let Some(record) = overlay.record(hash)?
            && overlay.is_on_path(hash, record.header.index)?
        {
            fork = record.header.index;
            break;
        }
    }
    let mut headers = Vec::new();
    let mut height = fork;
    while height < tip.header.index && headers.len() < count_max {
        height = height.next();
        let hash = overlay.path(height)?;
        let record = match hash {
            Some(hash) => overlay.record(&hash)?,
            None => None,
        };
        headers.extend(record.map(|record| record.header));
    }
    Ok((headers, height < tip.header.index))
}
