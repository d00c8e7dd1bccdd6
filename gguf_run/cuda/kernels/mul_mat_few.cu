// mul_mat_few: products of few tokens with up to three weights, and what stands behind them
//   y_i[t,r] = sum_k w_i[r,k] x[t,k] (+ add_i[t,r])                     i = 0 ... 2
//   y_0[t,r] = act(sum_k w_0[r,k] x[t,k]) * sum_k w_1[r,k] x[t,k]       `glu` >= 0; n_0 = n_1
// w_i (n_i, n_chunk * 32): a quantised type (rows of planes, quants/planes.cuh), F16 or BF16; unused ones with n_i = 0
// x as cast_f16 leaves it: n_term * n_tok <= BN rows of n_chunk * 32 f16, then a factor f32 for each; with two terms (then
// n_tok <= BN / 2) row n_tok + t is what rounding left of row t
// y_i (n_tok, n_i) f32; add_i f32 or null: a row of n_i for all tokens, or add_0 (n_tok, n_0) with its row stride
// grid = any, block = 256; dynamic shared memory: `n_stage` steps of x, then a sum a thread and number (ops/mul_mat_few.py)
// Weights are unpacked to f16 in registers as fragments of mma, scaled: 2^-12 of a weight is rounded off.
// A tile is 32 * RG rows (gated: half of them of each weight), a step KG = 8 / RG times 128 columns: each warp has 32 rows and
// 128 columns of a step. The steps of all tiles are one list, of which each block has a share: whole tiles or, with
// `shared_tiles`, as many steps as all others. Blocks that share a tile leave partial sums in `partial` (2 * gridDim.x,
// 32 * RG * BN), which the last of them adds up in the order of blocks.
// memory-bound in aim; measured, by the latency of weights, which are loaded to registers one or two steps ahead, and by
// instructions: 480 a warp and step of Q4_0, half of them to unpack
#include "functions.cuh"
#include "mul_mat_few.cuh"

// Blocks that have left their part of a tile; all zero between launches. Launches that may run side by side count in
// different places.
constexpr int MAX_COUNTERS = 1 << 18;
__device__ unsigned arrived[MAX_COUNTERS];
constexpr int MT = 2;  // groups of 16 rows that a warp has

__device__ __forceinline__ float gated_unit(int op, float gate, float up) {  // in the order of GLU_OPS
  return (op == 0 ? silu(gate) : op == 1 ? gelu(gate) : op == 2 ? relu(gate) : op == 3 ? gelu_erf(gate) : gelu_quick(gate)) * up;
}

// The rows of up to three weights as one list of tiles.
template <int ROWS> struct Tiles {
  int n0, n01, n;
  bool gated;
  __device__ __forceinline__ Tiles(int a, int b, int c, bool glu) : n0(a), n01(a + b), n(glu ? a : a + b + c), gated(glu) {}
  // The weight and its row that are row r of a tile; -1 behind the last. Gated: of each 32 rows 16 are the first weight's.
  __device__ __forceinline__ int find(int tile, int r, int& which) const {
    which = r / 16 % 2;
    const int row = gated ? tile * (ROWS / 2) + r / 32 * 16 + r % 16 : tile * ROWS + r;
    if (row >= n) return -1;
    if (gated) return row;
    which = row < n0 ? 0 : row < n01 ? 1 : 2;
    return row - (which > 0 ? n0 : 0) - (which > 1 ? n01 - n0 : 0);
  }
};

// Place of piece p (16 bytes) of row r of a step of x; a warp's lanes find theirs in different banks.
__device__ __forceinline__ int swizzled(int r, int p) { return p ^ (p >> 3 & 1) ^ (r & 1) << 1; }

// Blocks that must fit a multiprocessor, and steps that weights are loaded ahead.
template <class Q> constexpr bool SMALL = false;
template <> constexpr bool SMALL<Q4_0> = true;
template <> constexpr bool SMALL<IQ4_NL> = true;
template <class Q, int BN> constexpr int PER_SM = BN == 8 && SMALL<Q> ? 2 : 1;
template <class Q, int BN> constexpr int AHEAD = BN > 8 && SMALL<Q> ? 2 : 1;

template <class Q, int BN, int RG>
__global__ void __launch_bounds__(256, (PER_SM<Q, BN>))
mul_mat_few(const half* __restrict__ x, const uint8_t* __restrict__ w0, const uint8_t* __restrict__ w1, const uint8_t* __restrict__ w2,
            const float* __restrict__ add0, const float* __restrict__ add1, const float* __restrict__ add2,
            float* __restrict__ y0, float* __restrict__ y1, float* __restrict__ y2,
            float* __restrict__ partial, int n0, int n1, int n2, int add_stride, int n_tok, int n_term,
            int n_chunk, int glu, int n_stage, int shared_tiles, int n_tile, int first_counter) {
  constexpr int THREADS = 256, KG = 8 / RG, ROWS = 16 * MT * RG, CHUNKS = 4 * KG, PIECES = 4 * CHUNKS, STAGE_BYTES = BN * PIECES * 16;
  constexpr int NT = BN / 8, SUMS = MT * NT * 4, DEPTH = AHEAD<Q, BN>;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ bool is_last;
  __shared__ float factors[BN];
  float* const sums = (float*)(shared + n_stage * STAGE_BYTES);
  pdl_trigger();

  const int tid = threadIdx.x, lane = tid % 32, group = tid / 32 % RG, part_k = tid / (32 * RG);
  const Tiles<ROWS> tiles(n0, n1, n2, glu >= 0);
  const int n_step = (n_chunk + CHUNKS - 1) / CHUNKS;
  const long long total = (long long)n_tile * n_step;
  const auto begin_of = [&](int block) {
    return shared_tiles ? (int)(total * block / gridDim.x) : (int)((long long)n_tile * block / gridDim.x) * n_step;
  };
  const int begin = begin_of(blockIdx.x), end = begin_of(blockIdx.x + 1);

  // The rows of this lane, and which step of them is loaded next.
  const uint8_t* rows[2 * MT];
  int load_unit = begin, load_tile = begin / n_step, load_step = begin - load_tile * n_step;
  const auto seek = [&]() {
#pragma unroll
    for (int i = 0; i < 2 * MT; i++) {
      int which;
      const int row = tiles.find(load_tile, group * (16 * MT) + i * 8 + lane / 4, which);
      rows[i] = (which == 0 || row < 0 ? w0 : which == 1 ? w1 : w2) + (size_t)max(row, 0) * Q::row_bytes(n_chunk);
    }
  };
  typename Q::Raw raw[DEPTH][2 * MT];
  const int n_block = n_chunk / Q::CHUNKS;
  const int of_step = opaque(part_k * 4 + lane % 4);
  const auto chunk_of = [&](int step) { return min(step * CHUNKS + of_step, n_chunk - 1); };
  // Unconditional, or the numbers would be moved from register to register, which waits for them.
  const auto load = [&](typename Q::Raw (&to)[2 * MT], int i) { to[i] = Q::load(rows[i], n_block, chunk_of(load_step)); };
  const auto loaded = [&]() {
    if (++load_unit >= end) return;
    if (++load_step == n_step) load_step = 0, load_tile++, seek();
  };
  int tile = load_tile, step = load_step;
  seek();
#pragma unroll
  for (int d = 0; d < DEPTH; d++) {
#pragma unroll
    for (int i = 0; i < 2 * MT; i++) load(raw[d], i);
    loaded();
  }
  pdl_wait();

  const int n_row = n_term * n_tok, p = tid % PIECES, x_row = tid / PIECES;
  const half* const x_from = x + (size_t)x_row * n_chunk * 32 + p * 8;
  const int x_to = (x_row * PIECES + swizzled(x_row, p)) * 16;
  int x_stage = 0, x_chunk = step * CHUNKS, x_left = end - begin;
  const auto copy_activations = [&]() {
    if (x_left > 0) {
      constexpr int AT_ONCE = THREADS / PIECES;  // rows
#pragma unroll
      for (int i = 0; i < BN / AT_ONCE; i++) {
        const bool second = n_term == 2 && i * AT_ONCE >= BN / 2;
        const bool valid = i * AT_ONCE + x_row - (second ? BN / 2 : 0) < n_tok && x_chunk + p / 4 < n_chunk;
        const int row = i * AT_ONCE + (second ? n_tok - BN / 2 : 0);
        copy_async<16>(shared + x_stage * STAGE_BYTES + x_to + i * (AT_ONCE * PIECES * 16), x_from + (row * n_chunk + x_chunk) * 32, valid);
      }
      x_left--;
      if ((x_chunk += CHUNKS) >= n_chunk) x_chunk = 0;
    }
    copy_async_commit();
    if (++x_stage == n_stage) x_stage = 0;
  };
  copy_activations();
  if (n_stage > 2) copy_activations();
  if (tid < n_tok) factors[tid] = __ldcg((const float*)(x + (size_t)n_row * n_chunk * 32) + tid) / Unpacked<Q>::UNIT;

  // Where `sums` has row r and token t of a tile: numbers of KG parts of the columns, 32 * RG from each other.
  const auto place = [](int r, int t) {
    return (r / 16 % MT * NT * 4 + t / 8 * 4 + r / 8 % 2 * 2 + t % 2) * THREADS + r / (16 * MT) * 32 + r % 8 * 4 + t % 8 / 2;
  };
  // This block's steps `from` ... `to` - 1 of a tile are in `sums`; number e of a tile is row e % ROWS of token e / ROWS. All
  // threads call this.
  const auto finish = [&](int from, int to) {
    constexpr int EACH = (ROWS * BN + THREADS - 1) / THREADS;
    const bool whole = to - from == n_step;
#pragma unroll 4
    for (int i = 0; i < EACH; i++) {
      const int e = i * THREADS + tid;
      if (ROWS * BN % THREADS && e >= ROWS * BN) break;
      float* const at = sums + place(e % ROWS, e / ROWS);
      float v = 0;
#pragma unroll
      for (int k = 0; k < KG; k++) v += at[k * (32 * RG)];
      *at = v;
      if (!whole) __stcg(partial + ((size_t)blockIdx.x * 2 + (from != begin)) * (ROWS * BN) + e, v);
    }
    if (!whole) {
      const long long first = (long long)tile * n_step;
      const int c0 = (int)(((first + 1) * gridDim.x - 1) / total), c1 = (int)(((first + n_step) * gridDim.x - 1) / total);
      __threadfence();
      __syncthreads();
      if (tid == 0) {
        unsigned* const counter = arrived + first_counter + tile;
        is_last = atomicAdd(counter, 1u) == (unsigned)(c1 - c0);
        if (is_last) *counter = 0;
        __threadfence();
      }
      __syncthreads();
      if (!is_last) return;
      float v[EACH];
      const float* part = partial + (size_t)c0 * (2 * ROWS * BN) + (begin_of(c0) < first ? ROWS * BN : 0) + tid;
#pragma unroll
      for (int i = 0; i < EACH; i++) v[i] = i * THREADS + tid < ROWS * BN ? __ldcg(part + i * THREADS) : 0;
      part = partial + (size_t)c0 * (2 * ROWS * BN) + tid;
#pragma unroll 1
      for (int c = c0 + 1; c <= c1; c++) {
        part += 2 * ROWS * BN;
#pragma unroll
        for (int i = 0; i < EACH; i++)
          if (i * THREADS + tid < ROWS * BN) v[i] += __ldcg(part + i * THREADS);
      }
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        const int e = i * THREADS + tid;
        if (e < ROWS * BN) sums[place(e % ROWS, e / ROWS)] = v[i];
      }
    }
    __syncthreads();
    const int n_unit = glu < 0 ? ROWS : ROWS / 2;
#pragma unroll 2
    for (int e = tid; e < n_unit * n_tok; e += THREADS) {
      const int u = e % n_unit, t = e / n_unit, r = glu < 0 ? u : u / 16 * 32 + u % 16;
      int which;
      const int row = tiles.find(tile, r, which);
      if (row < 0) continue;
      float v = sums[place(r, t)];
      if (n_term == 2) v += sums[place(r, t + BN / 2)];
      v *= factors[t];
      if (glu >= 0) {
        float up = sums[place(r + 16, t)];
        if (n_term == 2) up += sums[place(r + 16, t + BN / 2)];
        v = gated_unit(glu, v, up * factors[t]);
      } else {
        const float* const add = which == 0 ? add0 : which == 1 ? add1 : add2;
        if (add) v += __ldcg(add + (which == 0 ? (size_t)t * add_stride : 0) + row);
      }
      (which == 0 ? y0 : which == 1 ? y1 : y2)[(size_t)t * (which == 0 ? n0 : which == 1 ? n1 : n2) + row] = v;
    }
  };

  float sum[MT][NT][4] = {};
  int stage = 0, first = begin;
  // Of piece s of the lane's row of x; that of row j * 8 and more is as many rows behind.
  const int x_at = opaque((lane / 4 * PIECES + swizzled(lane / 4, part_k * 16 + lane % 4 * 4)) * 16);
  for (int unit = begin; unit < end;)
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
      if (unit == end) break;
      if (n_stage > 2)
        copy_async_wait<1>();
      else
        copy_async_wait<0>();
      __syncthreads();  // this step's x is there, and nobody reads that of the step before any more
      copy_activations();

      Unpacked<Q> w[2 * MT];
#pragma unroll
      for (int i = 0; i < 2 * MT; i++) w[i].set(raw[d][i], chunk_of(step));
      const uint8_t* const at = shared + stage * STAGE_BYTES;
      if (++stage == n_stage) stage = 0;
#pragma unroll
      for (int s = 0; s < 4; s++) {
        if (s < 2 * MT) load(raw[d], s);  // between the reads of x, which would wait for all loads
        unsigned a[MT][2][4];
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
          for (int h = 0; h < 2; h++) {
            const uint2 upper = w[2 * i].get(2 * s + h), lower = w[2 * i + 1].get(2 * s + h);
            a[i][h][0] = upper.x, a[i][h][1] = lower.x, a[i][h][2] = upper.y, a[i][h][3] = lower.y;
          }
#pragma unroll
        for (int j = 0; j < NT; j++) {
          const uint4 v = *(const uint4*)(at + (x_at ^ s * 16) + j * (8 * PIECES * 16));
          const unsigned b[2][2] = {{v.x, v.y}, {v.z, v.w}};
#pragma unroll
          for (int h = 0; h < 2; h++)
#pragma unroll
            for (int i = 0; i < MT; i++) mma_m16n8k16_f16(sum[i][j], a[i][h], b[h]);
        }
      }
      loaded();
      unit++;
      if (++step < n_step && unit < end) continue;

#pragma unroll
      for (int i = 0; i < SUMS; i++) sums[i * THREADS + tid] = sum[i / (4 * NT)][i / 4 % NT][i % 4], sum[i / (4 * NT)][i / 4 % NT][i % 4] = 0;
      __syncthreads();
      finish(first, unit);
      first = unit, step = 0, tile++;
    }
}
