//! A job within one run of 2^32 nonces, where all but the nonce's low word is known: everything that can be computed
//! once for billions of hashes.
//! Invariant: every word and state here is independent of w12, the low word of the nonce.

use crate::job::Job;
use crate::search::Hit;
use crate::sha256::{self, K};

/// The first schedule word from which on none has a part that is known before the nonce's low word.
pub(crate) const UNKNOWN_FROM: usize = 41;

/// What the rounds from the twelfth on begin with, and what is known of the schedule that feeds them.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    pub(crate) job: &'a Job,
    pub(crate) high: u32,
    /// The sum of those terms of each schedule word that do not depend on w12; the whole word where none does.
    pub(crate) fixed: [u32; UNKNOWN_FROM],
    /// Per head of the job, in its order.
    pub(crate) heads: Vec<WindowHead>,
    /// The digest's first word must not be greater for a hit to be possible.
    pub(crate) bound: u32,
}

/// One head's part of a [`Window`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowHead {
    /// The state after rounds 0 to 11 of the second block.
    pub(crate) state: [u32; 8],
    /// The first word of the midstate, which the digest's first word still lacks after the last round.
    pub(crate) feed: u32,
}

impl<'a> Window<'a> {
    /// The window of all nonces whose high word is `high`.
    pub(crate) fn new(job: &'a Job, high: u32) -> Self {
        let kw11 = K[11].wrapping_add(high);
        let heads = job
            .states()
            .map(|(midstate, state)| WindowHead { state: sha256::round(*state, kw11), feed: midstate[0] });
        let mut w = [0; UNKNOWN_FROM];
        w[..16].copy_from_slice(&sha256::words::<16>(&job.last_block()));
        w[11] = high;
        w[12] = 0;
        let mut fixed = w;
        for t in 16..UNKNOWN_FROM {
            fixed[t] = sha256::scheduled(&w, t);
            // An unknown word counts as zero: both sigmas of zero are zero, so what remains is the known part.
            w[t] = if depends_on_nonce(t) { 0 } else { fixed[t] };
        }
        let bound = sha256::words::<8>(job.target())[0];
        Self { job, high, fixed, heads: heads.collect(), bound }
    }

    /// The lower of `best` and the lowest hit among the candidates of one head: bit `i` of `mask` stands for the nonce
    /// whose low word is `low + i`, where that is at most `last`.
    #[cold]
    pub(crate) fn lower(
        &self,
        best: Option<Hit>,
        head: usize,
        low: u32,
        last: u32,
        mask: u32,
    ) -> Option<Hit> {
        let lanes = (0..32).filter(|lane| mask >> lane & 1 == 1 && *lane <= last - low);
        let mut hits = lanes.map(|lane| {
            let nonce = u64::from(self.high) << 32 | u64::from(low + lane);
            Hit { nonce, head }
        });
        let hit = hits.find(|hit| self.job.check(*hit));
        best.into_iter().chain(hit).min()
    }
}

/// Whether schedule word `t`, below [`UNKNOWN_FROM`], depends on w12.
fn depends_on_nonce(t: usize) -> bool {
    matches!(t, 12 | 19 | 21 | 23 | 25..)
}
