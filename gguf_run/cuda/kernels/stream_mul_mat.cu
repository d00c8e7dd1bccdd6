// stream_mul_mat: products of one token with up to three weights, what stands before them and behind
//   v = x, or x * rsqrt(mean(x^2) + eps) * norm;  v is quantised as Q8_1 or, where Q is FINE, Q16_1; f32 for floats
//   y_i = w_i v (+ add_i)                 i = 0 ... 2
//   y_0 = w_0 v (+ add_0) + residual      one weight
//   y_0 = act(w_0 v) * (w_1 v)            `glu` >= 0
// x, norm (n_in) f32, 16-byte aligned, n_in % 32 == 0; w_i (n_i, n_in) rows of planes (quants/planes.cuh) or Floats, unused
// ones with n_i = 0;
// add_i (n_i) f32 or null; residual (n_0) f32 or null
// grid = any; block = 32 * WARPS threads (+ 32 that copy, where BULK); shared memory: see ops/stream_mul_mat.py
// A block has an even share of all rows, in tiles of WARPS * ROWS / k_split rows; k_split neighbouring warps share ROWS
// rows. LOADS: activations are read in rounds of LOADS float4 a thread, all of a round before the first is used.
// N_CHUNK, K_SPLIT: n_chunk and k_split, where the kernel is compiled for one shape: its loops are then unrolled, and it reads in
// rounds that fit n_in (Qwen3-0.6B on an H200: a step takes 17% less); else 0.
// BULK (sm_90): a producer warp copies tiles to `n_stage` stages of shared memory, `in_flight` <= n_stage tiles at a time:
// more would only delay the activations, which queue behind them. Else each warp loads one chunk of its rows ahead.
// memory-bound. The factor of the norm is one number, so x * norm is quantised before the sum of squares is known.
#include "stream.cuh"

template <int WARPS, int LOADS, bool NORM, class X> struct Prologue {
  static constexpr int THREADS = WARPS * 32;
  float4 weight[NORM ? LOADS : 1];

  // Weights of the norm, before pdl_wait(): __ldg() would be moved behind it.
  __device__ __forceinline__ void prefetch(const float* norm, int n) {
    if (!NORM) return;
#pragma unroll
    for (int j = 0; j < LOADS; j++) {
      const int i = threadIdx.x + j * THREADS;
      if (i < n) weight[j] = __ldcg((const float4*)norm + i);
    }
  }
  // All n float4 of x to shared memory; returns this thread's share of the sum of their squares.
  __device__ __forceinline__ float run(const float* x, const float* norm, int n, const X& target) {
    float squares = 0;
#pragma unroll 1
    for (int start = 0; start < n; start += LOADS * THREADS) {
      float4 v[LOADS];
#pragma unroll
      for (int j = 0; j < LOADS; j++) {
        const int i = start + threadIdx.x + j * THREADS;
        v[j] = i < n ? __ldcg((const float4*)x + i) : make_float4(0, 0, 0, 0);
        if (NORM && start && i < n) weight[j] = __ldg((const float4*)norm + i);
      }
      if (NORM)
#pragma unroll
        for (int j = 0; j < LOADS; j++) {
          const float4 w = start + threadIdx.x + j * THREADS < n ? weight[j] : make_float4(0, 0, 0, 0);
          float4& u = v[j];
          squares += u.x * u.x + u.y * u.y + u.z * u.z + u.w * u.w;
          u.x *= w.x, u.y *= w.y, u.z *= w.z, u.w *= w.w;
        }
      target.store(start + threadIdx.x, THREADS, n, v);
    }
    return squares;
  }
};

// A warp's rows of tile after tile: where they lie, and the sums of its slice of n_in.
template <int WARPS, int ROWS> struct Share {
  int warp, lane, k_split, slice, row0, step;

  __device__ __forceinline__ Share(int k)
      : warp(threadIdx.x / 32), lane(threadIdx.x % 32), k_split(k), slice(warp % k), row0(warp / k), step(WARPS / k) {}
  __device__ __forceinline__ int row(int r) const { return row0 + step * r; }
  // Sums of the tile of n units whose first is unit `at` of the block; `part` holds k_split numbers a row.
  __device__ __forceinline__ void store(float (&sum)[ROWS], int at, int n, bool gated, float* part) const {
    // Each step halves how many rows a lane adds up: in the end each 32 / ROWS lanes have one.
    int bit = 16;
#pragma unroll
    for (int rest = ROWS / 2; rest; rest /= 2, bit /= 2)
#pragma unroll
      for (int i = 0; i < rest; i++) {
        const bool upper = lane & bit;
        const float keep = upper ? sum[i + rest] : sum[i], send = upper ? sum[i] : sum[i + rest];
        sum[i] = keep + __shfl_xor_sync(~0u, send, bit);
      }
    const float total = warp_sum<32 / ROWS>(sum[0]);
    const int i = row(lane / (32 / ROWS)), second = gated && i >= n;
    if (lane % (32 / ROWS) == 0 && i < (gated ? 2 * n : n))
      part[(gated ? 2 * (at + i - second * n) + second : at + i) * k_split + slice] = total;
  }
};

template <class Q, int WARPS, int ROWS>
__device__ __forceinline__ void from_global(const Units& units, int most, int n_chunk, const typename Product<Q>::X& x, int k_split, float* part,
                                            typename Q::Raw (&next)[ROWS], const Share<WARPS, ROWS>& share, bool first) {
  const int n_block = Product<Q>::n_block(n_chunk), n_piece = n_chunk * (32 / Product<Q>::WIDTH), begin = share.slice * 32 + share.lane;
  const auto load = [&](const Tile& tile, int c) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int row = min(share.row(r), (units.gated ? 2 : 1) * tile.n - 1);
      const uint8_t* from = row < tile.n ? tile.first + (size_t)row * units.row_bytes : tile.second + (size_t)(row - tile.n) * units.row_bytes;
      next[r] = Q::load(from, n_block, c);
    }
  };
  Tile tile = units.tile(units.begin, most);
  if (first) {
    if (units.begin < units.end && begin < n_piece) load(tile, begin);
    return;
  }
  for (int unit = units.begin; unit < units.end;) {
    const int behind = unit + tile.n;
    const Tile following = behind < units.end ? units.tile(behind, most) : tile;
    float sum[ROWS] = {};
    for (int c = begin; c < n_piece; c += 32 * k_split) {
      typename Q::Raw raw[ROWS];
#pragma unroll
      for (int r = 0; r < ROWS; r++) raw[r] = next[r];
      if (c + 32 * k_split < n_piece)
        load(tile, c + 32 * k_split);
      else if (behind < units.end)
        load(following, begin);
      Product<Q>::multiply(raw, c, x, sum);
    }
    share.store(sum, unit - units.begin, tile.n, units.gated, part);
    unit = behind, tile = following;
  }
}

#if __CUDA_ARCH__ >= 900
// A ring of stages: which one is next, and the parity of its phase.
struct Ring {
  int n, at, parity;
  __device__ __forceinline__ void next() {
    if (++at == n) at = 0, parity ^= 1;
  }
};

// The barriers of the stages, and how many units lie in each.
struct Stages {
  unsigned long long full[MAX_STAGES], empty[MAX_STAGES];
  int n_unit[MAX_STAGES];
};

__device__ __forceinline__ void produce(const Units& units, int most, uint8_t* stages, int stage_bytes, Stages& s, int n_stage,
                                        int in_flight) {
  Ring to = {n_stage, 0, 0}, arriving = {n_stage, 0, 0};
  int t = 0;
  for (int unit = units.begin; unit < units.end; t++) {
    const Tile tile = units.tile(unit, most);
    if (t >= n_stage) mbarrier_wait(s.empty + to.at, to.parity ^ 1);
    if (t >= in_flight) {
      mbarrier_wait(s.full + arriving.at, arriving.parity);
      arriving.next();
    }
    const unsigned bytes = tile.n * units.row_bytes;
    uint8_t* target = stages + to.at * stage_bytes;
    s.n_unit[to.at] = tile.n;
    mbarrier_arrive_expect(s.full + to.at, units.gated ? 2 * bytes : bytes);
    bulk_copy(target, tile.first, bytes, s.full + to.at);
    if (units.gated) bulk_copy(target + bytes, tile.second, bytes, s.full + to.at);
    to.next();
    unit += tile.n;
  }
}

template <class Q, int WARPS, int ROWS, int N_CHUNK>
__device__ __forceinline__ void from_stages(const Units& units, int n_chunk, int k_split, const typename Product<Q>::X& x, float* part,
                                            const uint8_t* stages, int stage_bytes, Stages& s, int n_stage, const Share<WARPS, ROWS>& share) {
  const int n_block = Product<Q>::n_block(n_chunk), n_piece = n_chunk * (32 / Product<Q>::WIDTH), n_unit = units.end - units.begin;
  const int n_round = (n_piece + 32 * k_split - 1) / (32 * k_split);
  Ring ring = {n_stage, 0, 0};
  for (int unit = 0; unit < n_unit;) {
    mbarrier_wait(s.full + ring.at, ring.parity);
    const int n = s.n_unit[ring.at], last = (units.gated ? 2 * n : n) - 1;
    const uint8_t* base = stages + ring.at * stage_bytes;
    const uint8_t* rows[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) rows[r] = base + min(share.row(r), last) * units.row_bytes;
    float sum[ROWS] = {};
#pragma unroll (N_CHUNK ? (Q::FINE ? 1 : 4) : 1)
    for (int i = 0; i < n_round; i++) {
      const int c = (share.slice + i * k_split) * 32 + share.lane;
      if (c >= n_piece) break;
      typename Q::Raw raw[ROWS];
#pragma unroll
      for (int r = 0; r < ROWS; r++) raw[r] = Q::load(Staged{rows[r]}, n_block, c);
      Product<Q>::multiply(raw, c, x, sum);
    }
    __syncwarp();
    if (share.lane == 0) mbarrier_arrive(s.empty + ring.at);
    share.store(sum, unit, n, units.gated, part);
    ring.next();
    unit += n;
  }
}
#endif

// When the kernel behind may start, and fill the memory's queues with copies of its own: at once, after the last copy of
// this one, or once the activations are here.
enum Trigger { AT_ONCE, COPIED, LOADED };

// Blocks that must fit a multiprocessor: registers decide how many kernels behind this one can start beside it.
// Three with activations in two terms would spill a few registers on sm_100; on sm_120 many do, whose shared memory holds
// one block only.
constexpr int MOST = __CUDA_ARCH__ >= 1200 ? 2 : 3;
constexpr int MOST_FINE = __CUDA_ARCH__ >= 1200 ? 1 : __CUDA_ARCH__ >= 1000 ? 2 : 3;
template <class Q, int ROWS, bool BULK>
constexpr int PER_SM = BULK && sizeof(typename Q::Raw) * ROWS <= 128 ? (Q::FINE ? MOST_FINE : MOST)
                       : sizeof(typename Q::Raw) * ROWS <= 64       ? 2
                                                                    : 1;

// Float4 that a thread reads at once: in as many rounds as LOADS takes, but no more than each of these needs.
template <int THREADS, int LOADS, int N_CHUNK> __host__ __device__ constexpr int round_loads() {
  const int needed = (N_CHUNK * 8 + THREADS - 1) / THREADS, n_round = (needed + LOADS - 1) / LOADS;
  return N_CHUNK ? (needed + n_round - 1) / n_round : LOADS;
}

template <class Q, int WARPS, int ROWS, int LOADS, bool NORM, bool BULK, int N_CHUNK, int K_SPLIT>
__global__ void __launch_bounds__(WARPS * 32 + (BULK ? 32 : 0), (PER_SM<Q, ROWS, BULK>))
stream_mul_mat(const float* __restrict__ x, const float* __restrict__ norm, float eps, int n_chunk_given, const uint8_t* __restrict__ w0,
               const uint8_t* __restrict__ w1, const uint8_t* __restrict__ w2, const float* __restrict__ add0,
               const float* __restrict__ add1, const float* __restrict__ add2, const float* __restrict__ residual,
               float* __restrict__ y0, float* __restrict__ y1, float* __restrict__ y2, int n0, int n1, int n2, int glu, int k_split_given,
               int n_stage, int in_flight, int trigger) {
  constexpr int THREADS = WARPS * 32;
  const int n_chunk = N_CHUNK ? N_CHUNK : n_chunk_given, k_split = K_SPLIT ? K_SPLIT : k_split_given;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ float squares[WARPS];
  const bool gated = glu >= 0;
  const Units units(w0, w1, w2, n0, n1, n2, gated, Q::row_bytes(n_chunk));
  const int rows = WARPS * ROWS / k_split, most = gated ? rows / 2 : rows;
  const int stage_bytes = rows * units.row_bytes;
  uint8_t* behind = shared + (BULK ? n_stage * stage_bytes : 0);
  const typename Product<Q>::X activations(behind, n_chunk);
  float* part = (float*)(behind + (size_t)n_chunk * Product<Q>::BYTES);

#if __CUDA_ARCH__ >= 900
  __shared__ Stages stages;
  if (BULK) {
    if (threadIdx.x < n_stage) {
      mbarrier_init(stages.full + threadIdx.x, 1), mbarrier_init(stages.empty + threadIdx.x, WARPS);
      mbarrier_fence();
    }
    __syncthreads();
  }
#endif
  if (trigger == AT_ONCE) pdl_trigger();
#if __CUDA_ARCH__ >= 900
  if (BULK && threadIdx.x >= THREADS) {
    if (threadIdx.x == THREADS) {
      produce(units, most, shared, stage_bytes, stages, n_stage, in_flight);
      if (trigger == COPIED) pdl_trigger();
    }
    return;
  }
#endif
  const Share<WARPS, ROWS> share(k_split);
  typename Q::Raw next[ROWS];
  if (!BULK) from_global<Q, WARPS, ROWS>(units, most, n_chunk, activations, k_split, part, next, share, true);
  Prologue<WARPS, round_loads<THREADS, LOADS, N_CHUNK>(), NORM, typename Product<Q>::X> prologue;
  prologue.prefetch(norm, n_chunk * 8);
  if (!BULK && trigger == COPIED) pdl_trigger();
  pdl_wait();

  // The first residual is read here, where its way from L2 takes no time of its own.
  const int n_unit = units.end - units.begin;
  const float first = residual && threadIdx.x < n_unit ? __ldcg(residual + units.begin + threadIdx.x) : 0.0f;
  const float sum = prologue.run(x, norm, n_chunk * 8, activations);
  if (NORM) {
    const float total = warp_sum(sum);
    if (share.lane == 0) squares[share.warp] = total;
  }
  named_barrier(1, THREADS);
  if (trigger == LOADED) pdl_trigger();
  float factor = 1;
  if (NORM) {
    float total = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) total += squares[i];
    factor = rsqrtf(total / (n_chunk * 32) + eps);
  }
#if __CUDA_ARCH__ >= 900
  if (BULK) from_stages<Q, WARPS, ROWS, N_CHUNK>(units, n_chunk, k_split, activations, part, shared, stage_bytes, stages, n_stage, share);
#endif
  if (!BULK) from_global<Q, WARPS, ROWS>(units, most, n_chunk, activations, k_split, part, next, share, false);
  named_barrier(1, THREADS);

#pragma unroll 1
  for (int i = threadIdx.x; i < n_unit; i += THREADS) {
    const int unit = units.begin + i;
    float a = 0, b = 0;
#pragma unroll
    for (int k = 0; k < MAX_SPLIT; k++)
      if (k < k_split) {
        a += part[(gated ? 2 * i : i) * k_split + k];
        if (gated) b += part[(2 * i + 1) * k_split + k];
      }
    a *= factor, b *= factor;
    if (gated) {
      y0[unit] = gated_unit(glu, a, b);
      continue;
    }
    const int which = unit < n0 ? 0 : unit < n0 + n1 ? 1 : 2, row = unit - (which > 0 ? n0 : 0) - (which > 1 ? n1 : 0);
    const float* add = which == 0 ? add0 : which == 1 ? add1 : add2;
    if (add) a += __ldg(add + row);
    if (residual) a += i < THREADS ? first : __ldcg(residual + unit);
    (which == 0 ? y0 : which == 1 ? y1 : y2)[row] = a;
  }
}
