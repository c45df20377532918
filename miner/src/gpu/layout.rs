//! The words that the shader's `Job` is made of.
//! Invariant: the order here is the order of the fields in search.wgsl, which a test compares.

use crate::gpu::shader::Width;
use crate::job::Job;
use crate::search::Hit;
use crate::sha256::{self, K};
use crate::window::Window;

/// Fields of a single word each, at the beginning.
pub(super) const SCALARS: usize = 22;

/// The most hashes of a batch, so that a key never reaches the shader's `NONE`.
pub(super) const BATCH_MAX: u64 = 1 << 31;

/// What the shader keeps as "no hit".
pub(super) const NONE: u32 = u32::MAX;

/// Where the words begin that there is one of per head.
pub(super) fn states_at(width: Width) -> usize {
    SCALARS.next_multiple_of(width.heads())
}

/// Words in all.
pub(super) fn words(width: Width) -> usize {
    states_at(width) + 10 * width.heads()
}

/// A run of nonces within a window, for all of its heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The low word of the first nonce.
    pub(super) first: u32,
    /// The number of nonces.
    pub(super) len: u32,
}

/// How many dispatches it takes until each head had its turn.
pub(super) fn groups(heads: usize, width: Width) -> usize {
    heads.div_ceil(width.heads())
}

/// The job of one group of heads. The last head fills the places that are left in the last group.
pub(super) fn encode(window: &Window, width: Width, group: usize, run: Run) -> Vec<u32> {
    let fixed = |t: usize| window.fixed[t];
    let target: [u32; 8] = sha256::words(window.job.target());
    let lanes = width.heads();
    let all = groups(window.heads.len(), width) * lanes;
    let mut words: Vec<u32> = [16, 17, 18, 20, 22, 24].map(fixed).into();
    words.extend([19, 21, 23, 25, 26, 27, 31, 32, 33].map(fixed));
    words.extend([target[0], target[1], 1, run.first, run.len]);
    // At most HEADS_MAX, rounded up to whole groups.
    words.extend([all as u32, (group * lanes) as u32]);
    words.resize(states_at(width), 0);
    let heads: Vec<[u32; 10]> = (0..lanes)
        .map(|lane| {
            let head = (group * lanes + lane).min(window.heads.len() - 1);
            state(window, head)
        })
        .collect();
    words.extend((0..10).flat_map(|word| heads.iter().map(move |head| head[word])));
    words
}

/// The hit that the shader's answer stands for.
pub(super) fn decode(job: &Job, width: Width, high: u32, run: Run, key: u32) -> Option<Hit> {
    let all = (groups(job.heads(), width) * width.heads()) as u32;
    let low = run.first.wrapping_add(key / all);
    // Places filled by the last head come after it, so the lowest hit is never in one of them.
    let hit = Hit { nonce: u64::from(high) << 32 | u64::from(low), head: (key % all) as usize };
    (key != NONE).then_some(hit)
}

/// A head's state after round 12 with a nonce whose low word is 0, and the first two words of its midstate.
fn state(window: &Window, head: usize) -> [u32; 10] {
    let [a, b, c, d, e, f, g, h] = sha256::round(window.heads[head].state, K[12]);
    let midstate = window.job.midstates().nth(head).expect("a window has its job's heads");
    [a, b, c, d, e, f, g, h, midstate[0], midstate[1]]
}
