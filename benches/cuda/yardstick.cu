// The nonce search of shaders/search.wgsl in native CUDA: what a card does without WGSL, Vulkan and us in between.
//
//   nvcc -O3 -std=c++17 -arch=native -o yardstick yardstick.cu && ./yardstick [SECONDS [MIDSTATES PRODUCTS]]
//
// Prints a line per variant: midstates that share a schedule, additions written as products, registers, GH/s by the
// card's clock (median of launches), and whether the lowest hit of a stretch is the one that the CPU finds.
// Names and order of everything that has a counterpart in the shader are the shader's.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <cuda_runtime.h>

#define CHECK(call)                                                                               \
  do {                                                                                            \
    cudaError_t error = (call);                                                                   \
    if (error != cudaSuccess) {                                                                   \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(error));   \
      exit(1);                                                                                    \
    }                                                                                             \
  } while (0)

typedef uint32_t u32;

__host__ __device__ constexpr u32 K(int t) {
  constexpr u32 k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
  };
  return k[t];
}

constexpr u32 W13 = 0x80000000u, W14 = 0, W15 = 928;
constexpr u32 NONE = 0xffffffffu;
constexpr int WORKGROUP = 256;

// One u32 per head.
template <int M> struct Word { u32 lane[M]; };
template <int M> struct State { Word<M> a, b, c, d, e, f, g, h; };

template <int M> struct Job {
  u32 w16, w17, w18, w20, w22, w24;
  u32 k19, k21, k23, k25, k26, k27, k31, k32, k33;
  u32 bound0, bound1, one, first, len;
  State<M> state;
  Word<M> feed0, feed1;
};

#define INLINE __host__ __device__ __forceinline__

INLINE u32 rotr(u32 x, int n) {
#ifdef __CUDA_ARCH__
  return __funnelshift_r(x, x, n);
#else
  return x >> n | x << (32 - n);
#endif
}
INLINE u32 big_sigma0(u32 x) { return rotr(x, 2) ^ rotr(x, 13) ^ rotr(x, 22); }
INLINE u32 big_sigma1(u32 x) { return rotr(x, 6) ^ rotr(x, 11) ^ rotr(x, 25); }
INLINE u32 sigma0(u32 x) { return rotr(x, 7) ^ rotr(x, 18) ^ (x >> 3); }
INLINE u32 sigma1(u32 x) { return rotr(x, 17) ^ rotr(x, 19) ^ (x >> 10); }
INLINE u32 ch(u32 e, u32 f, u32 g) { return g ^ (e & (f ^ g)); }
INLINE u32 maj(u32 a, u32 b, u32 c) { return (a & b) | (c & (a | b)); }

// LEVEL 1 is an addition of a round, 2 one of the schedule; MULTIPLY says up to which level they are products.
// The latest sum always is x: of x * one + y * one the compiler makes (x + y) * one, and is back at a sum.
template <int MULTIPLY, int LEVEL> INLINE u32 plus(u32 one, u32 x, u32 y) {
  return LEVEL <= MULTIPLY ? x * one + y : x + y;
}

template <int MULTIPLY> INLINE u32 scheduled(u32 one, u32 w2, u32 w7, u32 w15, u32 w16) {
  u32 sum = plus<MULTIPLY, 2>(one, w16, sigma0(w15));
  return plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, sum, w7), sigma1(w2));
}

// Whether no nonce changes schedule word t.
INLINE constexpr bool is_known(int t) { return t != 12 && t != 19 && t != 21 && t != 23 && t < 25; }

template <int M, int MULTIPLY> INLINE void round(u32 one, State<M>& s, u32 kw) {
  State<M> next;
#pragma unroll
  for (int m = 0; m < M; m++) {
    u32 a = s.a.lane[m], b = s.b.lane[m], c = s.c.lane[m], d = s.d.lane[m];
    u32 e = s.e.lane[m], f = s.f.lane[m], g = s.g.lane[m], h = s.h.lane[m];
    u32 t1 = plus<MULTIPLY, 1>(one, kw, h);
    t1 = plus<MULTIPLY, 1>(one, t1, big_sigma1(e));
    t1 = plus<MULTIPLY, 1>(one, t1, ch(e, f, g));
    u32 t = plus<MULTIPLY, 1>(one, t1, big_sigma0(a));
    next.a.lane[m] = plus<MULTIPLY, 1>(one, t, maj(a, b, c));
    next.e.lane[m] = plus<MULTIPLY, 1>(one, t1, d);
  }
  next.b = s.a, next.c = s.b, next.d = s.c, next.f = s.e, next.g = s.f, next.h = s.g;
  s = next;
}

template <int M, int MULTIPLY> INLINE void hash(const Job<M>& job, u32 w12, Word<M>& word0, Word<M>& word1) {
  u32 one = job.one, w[64];
  w[12] = w12, w[13] = W13, w[14] = W14, w[15] = W15;
  w[16] = job.w16, w[17] = job.w17, w[18] = job.w18, w[20] = job.w20, w[22] = job.w22, w[24] = job.w24;
  w[19] = plus<MULTIPLY, 2>(one, w12, job.k19);
  w[21] = plus<MULTIPLY, 2>(one, sigma1(w[19]), job.k21);
  w[23] = plus<MULTIPLY, 2>(one, sigma1(w[21]), job.k23);
  w[25] = plus<MULTIPLY, 2>(one, sigma1(w[23]), job.k25);
  w[26] = plus<MULTIPLY, 2>(one, w[19], job.k26);
  w[27] = plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, job.k27, sigma0(w12)), sigma1(w[25]));
  w[28] = plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, sigma0(W13) + w12, w[21]), sigma1(w[26]));
  w[29] = plus<MULTIPLY, 2>(one, W13 + sigma0(W14) + w[22], sigma1(w[27]));
  w[30] = plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, W14 + sigma0(W15), w[23]), sigma1(w[28]));
  w[31] = plus<MULTIPLY, 2>(one, sigma1(w[29]), job.k31);
  w[32] = plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, w[25], job.k32), sigma1(w[30]));
  w[33] = plus<MULTIPLY, 2>(one, plus<MULTIPLY, 2>(one, w[26], job.k33), sigma1(w[31]));
#pragma unroll
  for (int t = 34; t < 64; t++) w[t] = scheduled<MULTIPLY>(one, w[t - 2], w[t - 7], w[t - 15], w[t - 16]);
  State<M> s = job.state;
#pragma unroll
  for (int m = 0; m < M; m++) s.a.lane[m] += w12, s.e.lane[m] += w12;
#pragma unroll
  for (int t = 13; t < 64; t++)
    round<M, MULTIPLY>(one, s, is_known(t) ? K(t) + w[t] : plus<MULTIPLY, 2>(one, w[t], K(t)));
#pragma unroll
  for (int m = 0; m < M; m++) {
    word0.lane[m] = s.a.lane[m] + job.feed0.lane[m];
    word1.lane[m] = s.b.lane[m] + job.feed1.lane[m];
  }
}

template <int M, int MULTIPLY>
__global__ void __launch_bounds__(WORKGROUP) search(const __grid_constant__ Job<M> job, u32* best) {
  u32 stride = gridDim.x * WORKGROUP;
#pragma unroll 1
  for (u32 offset = blockIdx.x * WORKGROUP + threadIdx.x; offset < job.len; offset += stride) {
    bool reached = *(volatile u32*)best < offset * M;
    Word<M> word0, word1;
    hash<M, MULTIPLY>(job, job.first + offset, word0, word1);
    bool any = false;
#pragma unroll
    for (int m = 0; m < M; m++) any |= word0.lane[m] <= job.bound0;
    if (any) {
#pragma unroll
      for (int m = 0; m < M; m++) {
        u32 w0 = word0.lane[m], w1 = word1.lane[m];
        if (w0 < job.bound0 || (w0 == job.bound0 && w1 <= job.bound1)) atomicMin(best, offset * M + m);
      }
    }
    if (reached) break;
  }
}

// -- the host's part --------------------------------------------------------------------------------------------------

static void plain_round(u32 s[8], u32 kw) {
  u32 t1 = s[7] + kw + big_sigma1(s[4]) + ch(s[4], s[5], s[6]);
  u32 next = t1 + big_sigma0(s[0]) + maj(s[0], s[1], s[2]), e = s[3] + t1;
  for (int i = 7; i > 0; i--) s[i] = s[i - 1];
  s[0] = next, s[4] = e;
}

static void plain_schedule(u32 w[64]) {
  for (int t = 16; t < 64; t++) w[t] = sigma1(w[t - 2]) + w[t - 7] + sigma0(w[t - 15]) + w[t - 16];
}

// A header's second block and M midstates, all of arbitrary bits.
template <int M> struct Header {
  u32 midstate[M][8], block[16];
  Header() {
    for (int m = 0; m < M; m++)
      for (int i = 0; i < 8; i++) midstate[m][i] = 0x9e3779b9u * (8 * m + i + 1);
    for (int t = 0; t < 12; t++) block[t] = 0x85ebca6bu * (t + 3);
    block[12] = 0, block[13] = W13, block[14] = W14, block[15] = W15;
  }
  u32 word0(int m, u32 nonce) const {
    u32 w[64], s[8];
    std::copy(block, block + 16, w);
    w[12] = nonce;
    plain_schedule(w);
    std::copy(midstate[m], midstate[m] + 8, s);
    for (int t = 0; t < 64; t++) plain_round(s, K(t) + w[t]);
    return s[0] + midstate[m][0];
  }
};

template <int M> static Job<M> make_job(const Header<M>& header, u32 bound0, u32 bound1, u32 len) {
  Job<M> job{};
  u32 w[64];
  std::copy(header.block, header.block + 16, w);
  for (int t = 16; t < 34; t++) {
    auto term = [&](int i, u32 value) { return is_known(i) ? value : 0; };
    w[t] = term(t - 2, sigma1(w[t - 2])) + term(t - 7, w[t - 7]) + term(t - 15, sigma0(w[t - 15]))
         + term(t - 16, w[t - 16]);
  }
  job.w16 = w[16], job.w17 = w[17], job.w18 = w[18], job.w20 = w[20], job.w22 = w[22], job.w24 = w[24];
  job.k19 = w[19], job.k21 = w[21], job.k23 = w[23], job.k25 = w[25], job.k26 = w[26], job.k27 = w[27];
  job.k31 = w[31], job.k32 = w[32], job.k33 = w[33];
  job.bound0 = bound0, job.bound1 = bound1, job.one = 1, job.first = 0, job.len = len;
  Word<M>* fields[8] = {&job.state.a, &job.state.b, &job.state.c, &job.state.d,
                        &job.state.e, &job.state.f, &job.state.g, &job.state.h};
  for (int m = 0; m < M; m++) {
    u32 s[8];
    std::copy(header.midstate[m], header.midstate[m] + 8, s);
    for (int t = 0; t < 13; t++) plain_round(s, K(t) + header.block[t]);
    for (int i = 0; i < 8; i++) fields[i]->lane[m] = s[i];
    job.feed0.lane[m] = header.midstate[m][0], job.feed1.lane[m] = header.midstate[m][1];
  }
  return job;
}

// Whether the algebra is right; needs no card.
template <int M, int MULTIPLY> static bool agrees() {
  Header<M> header;
  Job<M> job = make_job(header, 0, 0, 1);
  for (u32 i = 0; i < 500; i++) {
    u32 nonce = i * 0x01234567u;
    Word<M> word0, word1;
    hash<M, MULTIPLY>(job, nonce, word0, word1);
    for (int m = 0; m < M; m++)
      if (word0.lane[m] != header.word0(m, nonce)) return false;
  }
  return true;
}

// The kernel's answer for the first 2^22 nonces at 20 zero bits, against the CPU.
template <int M, int MULTIPLY> static bool finds_the_lowest(u32* best) {
  Header<M> header;
  const u32 len = 1u << 22, bound0 = 0xfff;
  u32 expected = NONE, found;
  for (u32 key = 0; key < len * M && expected == NONE; key++)
    if (header.word0(key % M, key / M) <= bound0) expected = key;
  CHECK(cudaMemset(best, 0xff, 4));
  search<M, MULTIPLY><<<256, WORKGROUP>>>(make_job(header, bound0, NONE, len), best);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(&found, best, 4, cudaMemcpyDeviceToHost));
  return found == expected;
}

template <int M, int MULTIPLY> static void bench(double seconds) {
  u32* best;
  CHECK(cudaMalloc(&best, 4));
  bool right = agrees<M, MULTIPLY>() && finds_the_lowest<M, MULTIPLY>(best);
  cudaFuncAttributes attributes;
  CHECK(cudaFuncGetAttributes(&attributes, search<M, MULTIPLY>));
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  std::vector<double> rates;
  double total_ms = 0;
  for (u32 len = 1u << 20; total_ms < seconds * 1e3;) {
    CHECK(cudaMemset(best, 0xff, 4));
    // As the backend launches: 32 nonces per thread.
    u32 blocks = std::min<u32>(65535, len / (WORKGROUP * 32));
    CHECK(cudaEventRecord(begin));
    search<M, MULTIPLY><<<blocks, WORKGROUP>>>(make_job(Header<M>(), 0, 0, len), best);
    CHECK(cudaEventRecord(end));
    CHECK(cudaEventSynchronize(end));
    CHECK(cudaGetLastError());
    float ms;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (ms < 20 && len < (1u << 31) / M) {
      len *= 2;  // batches of 20 ms or more count
      continue;
    }
    rates.push_back(double(len) * M / ms / 1e6);
    total_ms += ms;
  }
  std::sort(rates.begin(), rates.end());
  printf("cuda M=%d products=%d: %3d registers  %8.3f GH/s  (min %.3f max %.3f, %zu launches)  %s\n", M, MULTIPLY,
         attributes.numRegs, rates[rates.size() / 2], rates.front(), rates.back(), rates.size(),
         right ? "ok" : "WRONG");
  CHECK(cudaFree(best));
}

int main(int argc, char** argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 2;
  bool right = agrees<1, 0>() && agrees<2, 0>() && agrees<4, 0>() && agrees<1, 1>() && agrees<4, 2>();
  printf("algebra %s\n", right ? "ok" : "WRONG");
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    printf("no card\n");
    return right ? 3 : 1;
  }
  cudaDeviceProp card;
  int khz = 0;
  CHECK(cudaGetDeviceProperties(&card, 0));
  CHECK(cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, 0));
  printf("device %s, sm_%d%d, %d SMs, %.0f MHz\n", card.name, card.major, card.minor, card.multiProcessorCount, khz / 1e3);
  int wanted = argc > 3 ? 10 * atoi(argv[2]) + atoi(argv[3]) : 0;
#define BENCH(M, MULTIPLY) if (wanted == 0 || wanted == 10 * M + MULTIPLY) bench<M, MULTIPLY>(seconds)
  BENCH(1, 0);
  BENCH(2, 0);
  BENCH(4, 0);
  BENCH(1, 1);
  BENCH(2, 1);
  BENCH(4, 1);
  BENCH(1, 2);
  BENCH(2, 2);
  BENCH(4, 2);
  return right ? 0 : 1;
}
