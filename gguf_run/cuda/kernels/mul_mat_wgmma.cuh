// mul_mat_wgmma.cuh: the inner loop of products on wgmma (sm_90a): 128 rows of weights times BN tokens, summed along n_in.
// Weights are decoded in registers, as the operand that wgmma takes from there; tokens come by bulk copies.
// weights: rows of n_chunk chunks (quants/planes.cuh; F16, BF16), n_chunk % 4 == 0
// x as cast_tiles leaves it (cast.cu): n_row rows, in blocks of 64 columns; a tile of BN rows begins at a multiple of eight
// block = 256 threads that multiply (two warpgroups of 64 rows each) + 128, one of which copies
//
// Which weight is which: of 128 columns lane t = 0 ... 3 of four decodes chunk t of its two rows, so that it is loaded 16 bytes
// at a time. Step s = 0 ... 7 of wgmma takes of it the numbers i, i + 2 (columns 2t, 2t + 1) and i + 1, i + 3 (2t + 8, 2t + 9),
// i = 16 (s & 1) + 4 (s >> 1): they come in pairs out of a word of bytes. cast_tiles writes x in that order.
// Values are rounded to f16 once they are scaled: NMSE 4e-8 ... 9e-8 against exact weights, up to 1.4e-7 with minimums.
#pragma once
#include "quants/all.cuh"
#include "quants/plain.cuh"
#include "wgmma_decoded.cuh"

constexpr int BM = 128, MULTIPLY = 256, COPY = 128, BLOCK_BYTES = 128, STEP_CHUNKS = 4;  // BLOCK_BYTES: 64 columns of a row of x

__device__ __forceinline__ __half2 as_half2(unsigned bits) { return *(const __half2*)&bits; }
__device__ __forceinline__ unsigned bits_of(__half2 v) { return *(const unsigned*)&v; }

// Bits of the bytes that a type unpacks to (`Chunk::w`); negative ones take all eight, their sign inverted. As the upper
// bits of a mantissa they make 1 + q / 2^BITS, an f16 number from 1 to 2.
template <class Q> constexpr int BITS = Q::SIGNED ? 8 : 4;
template <> constexpr int BITS<Q5_0> = 5;
template <> constexpr int BITS<Q5_1> = 5;
template <> constexpr int BITS<Q5_K> = 5;
template <> constexpr int BITS<Q2_K> = 2;
template <> constexpr int BITS<TQ1_0> = 2;
template <> constexpr int BITS<TQ2_0> = 2;

// What becomes of a chunk: `step` gives the pairs of numbers that step s takes. A value is scale * (q - MIDDLE), plus an offset
// where the type has minimums. Without an offset, which would be rounded as well, a scale
// that f16 doesn't hold comes in two terms.
template <class Q> struct Halves {
  static constexpr float LEVELS = 1 << BITS<Q>, MIDDLE = LEVELS / 2;
  static constexpr bool CENTRED = Q::SIGNED || Q::OFFSET == (1 << BITS<Q>) / 2, EXACT = Q::CHUNKS == 1 && Q::SCALES == 1;
  static constexpr bool OFFSET = Q::MINS || !CENTRED;
  unsigned words[8];
  __half2 scale[2], rest[2], offset[2];
  __device__ __forceinline__ Halves(const typename Q::Raw& raw, int c) {
    const Chunk chunk = Q::unpack(raw, c);
#pragma unroll
    for (int i = 0; i < 8; i++) words[i] = Q::SIGNED ? chunk.w[i] ^ 0x80808080u : chunk.w[i];
#pragma unroll
    for (int i = 0; i < Q::SCALES; i++) {
      const float d = LEVELS * chunk.d[i];
      scale[i] = __float2half2_rn(d);
      if (!EXACT && !OFFSET) rest[i] = __float2half2_rn(d - __low2float(scale[i]));
      if (OFFSET) offset[i] = __float2half2_rn((MIDDLE - Q::OFFSET) * chunk.d[i] - (Q::MINS ? chunk.m[i] : 0));
    }
  }
  __device__ __forceinline__ unsigned scaled(unsigned word, int i) const {
    constexpr unsigned MASK = 0x03ff & ~0u << (10 - BITS<Q>);
    const __half2 q = __hsub2(as_half2((word & MASK * 0x10001u) | 0x3c003c00u), __float2half2_rn(1.5f));
    if (OFFSET) return bits_of(__hfma2(q, scale[i], offset[i]));
    return bits_of(EXACT ? __hmul2(q, scale[i]) : __hfma2(q, scale[i], __hmul2(q, rest[i])));
  }
  __device__ __forceinline__ void step(int s, unsigned& first, unsigned& second) const {
    const unsigned word = words[4 * (s & 1) + (s >> 1)];
    const int i = Q::SCALES == 2 ? s & 1 : 0;
    first = scaled(word << (10 - BITS<Q>), i), second = scaled(word >> (BITS<Q> - 2), i);
  }
};
template <class T> struct Halves<Plain<T>> {
  typename Plain<T>::Raw raw;
  __device__ __forceinline__ Halves(const typename Plain<T>::Raw& numbers, int) : raw(numbers) {}
  __device__ static __forceinline__ unsigned pair(const half*, unsigned low, unsigned high, unsigned which) {
    return __byte_perm(low, high, which ? 0x7632 : 0x5410);
  }
  __device__ static __forceinline__ unsigned pair(const nv_bfloat16*, unsigned low, unsigned high, unsigned which) {
    const unsigned a = which ? low & 0xffff0000u : low << 16, b = which ? high & 0xffff0000u : high << 16;
    return bits_of(__floats2half2_rn(__uint_as_float(a), __uint_as_float(b)));
  }
  __device__ __forceinline__ void step(int s, unsigned& first, unsigned& second) const {
    const int i = 16 * (s & 1) + 4 * (s >> 1);
    const uint4& v = raw.v[i / 8];
    const unsigned low = i % 8 ? v.z : v.x, high = i % 8 ? v.w : v.y;
    first = pair((const T*)nullptr, low, high, 0), second = pair((const T*)nullptr, low, high, 1);
  }
};

// The stages of x in dynamic shared memory, 1024 bytes aligned, and where a warp is in their ring.
template <int BN> constexpr int STAGE_BYTES = BN * BLOCK_BYTES;
// Where COPIERS threads copy by copy_async, each of them arrives.
template <int STAGES_, int SLOT_BYTES_, int COPIERS_ = 1> struct Ring {
  static constexpr int STAGES = STAGES_, SLOT_BYTES = SLOT_BYTES_, COPIERS = COPIERS_;
  uint8_t* stages;
  unsigned long long *full, *empty;
  int slot, parity;
  // One thread, ahead of a __syncthreads().
  __device__ __forceinline__ void init() const {
    for (int i = 0; i < STAGES; i++) mbarrier_init(full + i, COPIERS), mbarrier_init(empty + i, MULTIPLY / 32);
    mbarrier_fence();
  }
  __device__ __forceinline__ void next() {
    if (++slot == STAGES) slot = 0, parity ^= 1;
  }
};

// Copies the tile's rows row0 ... row0 + n - 1 of x (1 <= n <= BN), steps k0 ... k1 - 1. One thread, whose ring began with
// slot 0, parity 1.
template <class R>
__device__ __forceinline__ void copy_tokens(R& ring, const uint8_t* x, int n_row, int row0, int n, int k0, int k1) {
  for (int block = 2 * k0; block < 2 * k1; block++, ring.next()) {
    mbarrier_wait(ring.empty + ring.slot, ring.parity);
    mbarrier_arrive_expect(ring.full + ring.slot, n * BLOCK_BYTES);
    bulk_copy(ring.stages + ring.slot * R::SLOT_BYTES, x + ((size_t)block * n_row + row0) * BLOCK_BYTES, n * BLOCK_BYTES, ring.full + ring.slot);
  }
}

// A thread's weights of two rows, which may be any: `begin` has those of the first steps from k0 on loaded, steps k0 ... k1 - 1
// being wanted.
template <class Q, int BN> struct Weights {
  using Raw = typename Q::Raw;
  static constexpr int AHEAD = sizeof(Raw) > 36 ? 1 : BN > 128 ? 2 : BN > 64 ? 3 : 5;  // steps that weights are loaded ahead
  const uint8_t *row, *other_row;
  int n_chunk, k1;
  Raw raw[AHEAD][2];  // of the steps from this one on
  __device__ __forceinline__ void load(int i, int k) {
    const int c = STEP_CHUNKS * min(k, k1 - 1) + threadIdx.x % 4;
    raw[i][0] = Q::load(row, n_chunk / Q::CHUNKS, c), raw[i][1] = Q::load(other_row, n_chunk / Q::CHUNKS, c);
  }
  __device__ __forceinline__ void begin(const uint8_t* first, const uint8_t* second, int chunks, int k0, int end) {
    row = first, other_row = second, n_chunk = chunks, k1 = end;
#pragma unroll
    for (int i = 0; i < AHEAD; i++) load(i, k0 + i);
  }
};

// sum (64 rows x BN tokens of a warpgroup, see Wgmma) of steps k0 ... k1 - 1, k0 < k1. The 256 threads that multiply, whose
// rings began with slot 0, parity 0; the weights, begun at k0, are those of the thread's rows lane / 4 and lane / 4 + 8 of its
// warp's 16. Tokens beyond those that were copied get arbitrary sums.
template <class Q, int BN, class R>
__device__ __forceinline__ void multiply(float (&sum)[BN / 2], R& ring, Weights<Q, BN>& weights, int k0, int k1) {
  constexpr int AHEAD = Weights<Q, BN>::AHEAD;
  const int lane = threadIdx.x % 32, t = lane % 4;
  unsigned a[2][4][4];
  const auto decode = [&](int half, int i, int k) {  // the first or last 64 of raw[i]'s columns, those of step k
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const Halves<Q> chunk(weights.raw[i][r], STEP_CHUNKS * min(k, k1 - 1) + t);
#pragma unroll
      for (int s = 0; s < 4; s++) chunk.step(4 * half + s, a[half][s][r], a[half][s][2 + r]);
    }
  };
  int before = -1;  // the slot that the group of products before this one reads
  const auto products = [&](int half, bool adds) {
    mbarrier_wait(ring.full + ring.slot, ring.parity);
    if (R::COPIERS > 1) wgmma_publish();
    const unsigned long long b = wgmma_matrix(shared_address(ring.stages + ring.slot * R::SLOT_BYTES));
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < 4; s++) Wgmma<BN>::run(sum, a[half][s], b + 2 * s, s || adds);
    wgmma_commit();
    wgmma_wait<1>();  // the group before: its registers and its slot are free
    if (lane == 0 && before >= 0) mbarrier_arrive(ring.empty + before);
    before = ring.slot;
    ring.next();
  };
  decode(0, 0, k0);
  for (int first = k0; first < k1; first += AHEAD)
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {  // unrolled: a register that is copied must have arrived
      const int k = first + i;
      if (k >= k1) break;
      products(0, k > k0);
      decode(1, i, k);
      weights.load(i, k + AHEAD);
      products(1, true);
      decode(0, (i + 1) % AHEAD, k + 1);
    }
  wgmma_wait<0>();
  if (lane == 0) mbarrier_arrive(ring.empty + before);
}
