// Searches nonces: SHA-256 of a header's second block, as FIPS 180-4 names its parts, from round 12 on.
//
// A `Word` holds one u32 per head: all of them share the message schedule, which is of plain u32. `Word`, `LANES` and
// `lowest` come from heads1.wgsl, heads2.wgsl or heads4.wgsl, and `given` from immediates.wgsl or uniform.wgsl.
// README.md has the bindings; miner/src/gpu/twin.rs is the same algebra in Rust.

struct Job {
  // Schedule words that no nonce changes.
  w16: u32, w17: u32, w18: u32, w20: u32, w22: u32, w24: u32,
  // Of other schedule words, the sum of the terms that no nonce changes.
  k19: u32, k21: u32, k23: u32, k25: u32, k26: u32, k27: u32, k31: u32, k32: u32, k33: u32,
  // A hit's first two digest words are at most these, read as one number.
  bound0: u32, bound1: u32,
  // 1, which the compiler cannot know.
  one: u32,
  // The low word of the first nonce, and the number of nonces.
  first: u32, len: u32,
  // Heads of the whole batch, and which of them is the first here.
  heads: u32, head: u32,
  // The state after round 12 with a nonce whose low word is 0.
  a: Word, b: Word, c: Word, d: Word, e: Word, f: Word, g: Word, h: Word,
  // The first two words of the midstate.
  feed0: Word, feed1: Word,
}

// The lowest hit of the batch, as (nonce - first nonce) * heads + head.
@group(0) @binding(0) var<storage, read_write> best: atomic<u32>;

override WORKGROUP: u32 = 256u;
// Which additions are written as products with one, for cards whose multipliers would idle: 0 none, 1 those of the
// rounds, 2 those of the schedule, too.
override MULTIPLY: u32 = 0u;

const NONE = 0xffffffffu;

// The second block's padding.
const W13 = 0x80000000u;
const W14 = 0u;
const W15 = 928u;

const K = array<u32, 64>(
  0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
  0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
  0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
  0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
  0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
  0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
  0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
  0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
);

// The latest sum always is x: of x * one + y * one a compiler would make (x + y) * one, and be back at a sum.
fn plus(x: Word, y: Word) -> Word {
  if 1u <= MULTIPLY { return x * Word(given.one) + y; }
  return x + y;
}

fn plus1(x: u32, y: u32) -> u32 {
  if 2u <= MULTIPLY { return x * given.one + y; }
  return x + y;
}

fn big_sigma0(x: Word) -> Word { return rotr(x, 2u) ^ rotr(x, 13u) ^ rotr(x, 22u); }
fn big_sigma1(x: Word) -> Word { return rotr(x, 6u) ^ rotr(x, 11u) ^ rotr(x, 25u); }
fn sigma0(x: u32) -> u32 { return rotr1(x, 7u) ^ rotr1(x, 18u) ^ (x >> 3u); }
fn sigma1(x: u32) -> u32 { return rotr1(x, 17u) ^ rotr1(x, 19u) ^ (x >> 10u); }
fn ch(e: Word, f: Word, g: Word) -> Word { return g ^ (e & (f ^ g)); }
fn maj(a: Word, b: Word, c: Word) -> Word { return (a & b) | (c & (a | b)); }

fn rotr(x: Word, n: u32) -> Word { return (x >> Word(n)) | (x << Word(32u - n)); }
fn rotr1(x: u32, n: u32) -> u32 { return (x >> n) | (x << (32u - n)); }

// Schedule word t, of the words t - 2, t - 7, t - 15 and t - 16.
fn scheduled(w2: u32, w7: u32, w15: u32, w16: u32) -> u32 {
  return plus1(plus1(plus1(w16, sigma0(w15)), w7), sigma1(w2));
}

struct State { a: Word, b: Word, c: Word, d: Word, e: Word, f: Word, g: Word, h: Word }

// One round with the sum of its constant and its schedule word.
fn round(s: State, kw: u32) -> State {
  let t1 = plus(plus(plus(Word(kw), s.h), big_sigma1(s.e)), ch(s.e, s.f, s.g));
  let next = plus(plus(t1, big_sigma0(s.a)), maj(s.a, s.b, s.c));
  return State(next, s.a, s.b, s.c, plus(t1, s.d), s.e, s.f, s.g);
}

struct Digest { word0: Word, word1: Word }

fn hash(job: Job, w12: u32) -> Digest {
  // Round 12: the nonce reaches a and e by addition.
  var s = State(job.a + Word(w12), job.b, job.c, job.d, job.e + Word(w12), job.f, job.g, job.h);
  s = round(s, K[13] + W13);
  s = round(s, K[14] + W14);
  s = round(s, K[15] + W15);

  s = round(s, K[16] + job.w16);
  s = round(s, K[17] + job.w17);
  s = round(s, K[18] + job.w18);
  let w19 = plus1(w12, job.k19); s = round(s, plus1(w19, K[19]));
  s = round(s, K[20] + job.w20);
  let w21 = plus1(sigma1(w19), job.k21); s = round(s, plus1(w21, K[21]));
  s = round(s, K[22] + job.w22);
  let w23 = plus1(sigma1(w21), job.k23); s = round(s, plus1(w23, K[23]));
  s = round(s, K[24] + job.w24);
  let w25 = plus1(sigma1(w23), job.k25); s = round(s, plus1(w25, K[25]));
  let w26 = plus1(w19, job.k26); s = round(s, plus1(w26, K[26]));
  let w27 = plus1(plus1(job.k27, sigma0(w12)), sigma1(w25)); s = round(s, plus1(w27, K[27]));
  let w28 = plus1(plus1(sigma0(W13) + w12, w21), sigma1(w26)); s = round(s, plus1(w28, K[28]));
  let w29 = plus1(W13 + sigma0(W14) + job.w22, sigma1(w27)); s = round(s, plus1(w29, K[29]));
  let w30 = plus1(plus1(W14 + sigma0(W15), w23), sigma1(w28)); s = round(s, plus1(w30, K[30]));
  let w31 = plus1(sigma1(w29), job.k31); s = round(s, plus1(w31, K[31]));

  let w32 = plus1(plus1(w25, job.k32), sigma1(w30)); s = round(s, plus1(w32, K[32]));
  let w33 = plus1(plus1(w26, job.k33), sigma1(w31)); s = round(s, plus1(w33, K[33]));
  let w34 = scheduled(w32, w27, w19, job.w18); s = round(s, plus1(w34, K[34]));
  let w35 = scheduled(w33, w28, job.w20, w19); s = round(s, plus1(w35, K[35]));
  let w36 = scheduled(w34, w29, w21, job.w20); s = round(s, plus1(w36, K[36]));
  let w37 = scheduled(w35, w30, job.w22, w21); s = round(s, plus1(w37, K[37]));
  let w38 = scheduled(w36, w31, w23, job.w22); s = round(s, plus1(w38, K[38]));
  let w39 = scheduled(w37, w32, job.w24, w23); s = round(s, plus1(w39, K[39]));
  let w40 = scheduled(w38, w33, w25, job.w24); s = round(s, plus1(w40, K[40]));
  let w41 = scheduled(w39, w34, w26, w25); s = round(s, plus1(w41, K[41]));
  let w42 = scheduled(w40, w35, w27, w26); s = round(s, plus1(w42, K[42]));
  let w43 = scheduled(w41, w36, w28, w27); s = round(s, plus1(w43, K[43]));
  let w44 = scheduled(w42, w37, w29, w28); s = round(s, plus1(w44, K[44]));
  let w45 = scheduled(w43, w38, w30, w29); s = round(s, plus1(w45, K[45]));
  let w46 = scheduled(w44, w39, w31, w30); s = round(s, plus1(w46, K[46]));
  let w47 = scheduled(w45, w40, w32, w31); s = round(s, plus1(w47, K[47]));

  let w48 = scheduled(w46, w41, w33, w32); s = round(s, plus1(w48, K[48]));
  let w49 = scheduled(w47, w42, w34, w33); s = round(s, plus1(w49, K[49]));
  let w50 = scheduled(w48, w43, w35, w34); s = round(s, plus1(w50, K[50]));
  let w51 = scheduled(w49, w44, w36, w35); s = round(s, plus1(w51, K[51]));
  let w52 = scheduled(w50, w45, w37, w36); s = round(s, plus1(w52, K[52]));
  let w53 = scheduled(w51, w46, w38, w37); s = round(s, plus1(w53, K[53]));
  let w54 = scheduled(w52, w47, w39, w38); s = round(s, plus1(w54, K[54]));
  let w55 = scheduled(w53, w48, w40, w39); s = round(s, plus1(w55, K[55]));
  let w56 = scheduled(w54, w49, w41, w40); s = round(s, plus1(w56, K[56]));
  let w57 = scheduled(w55, w50, w42, w41); s = round(s, plus1(w57, K[57]));
  let w58 = scheduled(w56, w51, w43, w42); s = round(s, plus1(w58, K[58]));
  let w59 = scheduled(w57, w52, w44, w43); s = round(s, plus1(w59, K[59]));
  let w60 = scheduled(w58, w53, w45, w44); s = round(s, plus1(w60, K[60]));
  let w61 = scheduled(w59, w54, w46, w45); s = round(s, plus1(w61, K[61]));
  let w62 = scheduled(w60, w55, w47, w46); s = round(s, plus1(w62, K[62]));
  let w63 = scheduled(w61, w56, w48, w47); s = round(s, plus1(w63, K[63]));
  return Digest(s.a + job.feed0, s.b + job.feed1);
}

@compute @workgroup_size(WORKGROUP)
fn search(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  // Copied before the loop: lavapipe would fetch each field lane by lane wherever it is used, for two fifths of all its
  // instructions. On sm_90 the same copy in CUDA changes no instruction: they take these as constants.
  let job = given;
  let stride = groups.x * WORKGROUP;
  // Ascending, so that a hit makes what is left of every invocation needless at about the same time.
  for (var offset = id.x; offset < job.len; offset += stride) {
    let key = offset * job.heads + job.head;
    // Read before the work and looked at after it, when the answer has long come.
    let reached = atomicLoad(&best) < key;
    let digest = hash(job, job.first + offset);
    if any(digest.word0 <= Word(job.bound0)) {
      let equal = digest.word0 == Word(job.bound0);
      let hit = (digest.word0 < Word(job.bound0)) | (equal & (digest.word1 <= Word(job.bound1)));
      atomicMin(&best, lowest(select(Word(NONE), Word(key) + LANES, hit)));
    }
    if reached { break; }
  }
}
