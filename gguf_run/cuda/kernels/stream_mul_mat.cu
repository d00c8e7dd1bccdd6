// stream_mul_mat: products of one token with up to three weights, what stands before them and behind
//   v = x, or x * rsqrt(mean(x^2) + eps) * norm;  v is quantised as Q8_1 or, where Q is FINE, Q16_1; f32 for floats
//   y_i = w_i v (+ add_i)                 i = 0 ... 2
//   y_0 = w_0 v (+ add_0) + residual      one weight
//   y_0 = act(w_0 v) * (w_1 v)            `glu` >= 0
// x, norm (n_in) f32, 16-byte aligned, n_in % 32 == 0; w_i (n_i, n_in) rows of planes (quants/planes.cuh) or Floats, unused
// ones with n_i = 0; add_i (n_i) f32 or null; residual (n_0) f32 or null; inverse = 1 / n_in
// grid = any; block = 32 * WARPS threads (+ 32 that copy, where BULK); shared memory: see ops/stream_mul_mat.py
// A block has an even share of all rows, in tiles of WARPS * ROWS / k_split rows; k_split = 1 << log_split
// neighbouring warps share ROWS rows. LOADS: a thread reads LOADS float4 of activations while it has LOADS in hand.
// N_CHUNK, K_SPLIT: n_chunk and k_split, where the kernel is compiled for one shape: its loops are then unrolled, and it reads in
// rounds that fit n_in; else 0.
// BULK (sm_90): a producer warp copies tiles to `n_stage` stages of shared memory, `in_flight` <= n_stage tiles at a time:
// more would only delay the activations, which queue behind them. Else each warp loads one chunk of its rows ahead.
// memory-bound. The factor of the norm is one number, so x * norm is quantised before the sum of squares is known.
#include "stream.cuh"

template <int WARPS, int LOADS, bool NORM, class X> struct Prologue {
  static constexpr int THREADS = WARPS * 32;
  float4 weight[NORM ? LOADS : 1];

  __device__ static __forceinline__ float4 load(const float* from, int i, int n) {
    return i < n ? __ldcg((const float4*)from + i) : make_float4(0, 0, 0, 0);  // __ldg() would be moved behind pdl_wait()
  }
  // The first weights of the norm, before pdl_wait().
  __device__ __forceinline__ void prefetch(const float* norm, int n) {
    if (!NORM) return;
#pragma unroll
    for (int j = 0; j < LOADS; j++) weight[j] = load(norm, threadIdx.x + j * THREADS, n);
  }
  // N float4 a thread from `start` on.
  template <int N> __device__ __forceinline__ void use(const float4 (&v)[LOADS], const float* norm, int start, int n, const X& target, float& squares) {
    if (start + (int)threadIdx.x / 32 * 32 >= n) return;
    float4 u[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
      u[j] = v[j];
      if (NORM) {
        const float4 w = start ? load(norm, start + threadIdx.x + j * THREADS, n) : weight[j];
        squares += u[j].x * u[j].x + u[j].y * u[j].y + u[j].z * u[j].z + u[j].w * u[j].w;
        u[j].x *= w.x, u[j].y *= w.y, u[j].z *= w.z, u[j].w *= w.w;
      }
    }
    target.store(start + threadIdx.x, THREADS, n, u);
  }
  // All n float4 of x to shared memory; returns this thread's share of the sum of their squares. The next LOADS of a
  // thread are on their way while it has LOADS in hand.
  __device__ __forceinline__ float run(const float* x, const float* norm, int n, const X& target) {
    float squares = 0;
    float4 next[LOADS];
#pragma unroll
    for (int j = 0; j < LOADS; j++) next[j] = load(x, threadIdx.x + j * THREADS, n);
    int start = 0;
#pragma unroll 1
    for (; n - start > (LOADS + 1) / 2 * THREADS; start += LOADS * THREADS) {
      float4 now[LOADS];
#pragma unroll
      for (int j = 0; j < LOADS; j++) now[j] = next[j];
      const int behind = start + LOADS * THREADS;
      if (behind < n) {
#pragma unroll
        for (int j = 0; j < LOADS; j++) next[j] = load(x, behind + threadIdx.x + j * THREADS, n);
      }
      use<LOADS>(now, norm, start, n, target, squares);
    }
    if (start < n) use<(LOADS + 1) / 2>(next, norm, start, n, target, squares);
    return squares;
  }
};

// A warp's rows of tile after tile: where they lie, and the sums of its slice of n_in. Of a gated tile the first half of
// the rows belongs to the first weight.
template <int WARPS, int ROWS> struct Share {
  int warp, lane, k_split, slice, row0, step, first, place, unit;
  bool stores;

  __device__ __forceinline__ Share(int log_split, bool gated)
      : warp(threadIdx.x / 32), lane(threadIdx.x % 32), k_split(1 << log_split), slice(warp & (k_split - 1)), row0(warp >> log_split),
        step(WARPS >> log_split), stores(lane % (32 / ROWS) == 0) {
    const int i = row(lane / (32 / ROWS)), most = step * ROWS / 2, second = gated && i >= most;
    unit = i - second * most;
    first = gated && row0 >= most ? row0 - most : row0;
    place = ((gated ? 2 * unit + second : unit) << log_split) + slice;
  }
  __device__ __forceinline__ int row(int r) const { return row0 + step * r; }
  // Sums of a tile of n units; `part` holds k_split numbers a row from the tile's first on.
  __device__ __forceinline__ void store(float (&sum)[ROWS], int n, float* part) const {
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
    if (stores && unit < n) part[place] = total;
  }
};

template <class Q, int WARPS, int ROWS>
__device__ __forceinline__ void from_global(const Units& units, int most, int n_chunk, const typename Product<Q>::X& x, float* part,
                                            typename Q::Raw (&next)[ROWS], const Share<WARPS, ROWS>& share, bool first) {
  const int n_block = Product<Q>::n_block(n_chunk), n_piece = n_chunk * (32 / Product<Q>::WIDTH), begin = share.slice * 32 + share.lane,
            k_split = share.k_split;
  const auto load = [&](const Tile& tile, int c) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int row = share.row(r), second = units.gated && row >= most;
      const uint8_t* from = (second ? tile.second : tile.first) + (size_t)min(row - second * most, tile.n - 1) * units.row_bytes;
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
    share.store(sum, tile.n, part + (units.gated ? 2 : 1) * (unit - units.begin) * k_split);
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

// The barriers of the stages.
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
    if (units.gated) bulk_copy(target + most * units.row_bytes, tile.second, bytes, s.full + to.at);
    to.next();
    unit += tile.n;
  }
}

// Rounds of a row in one piece, where their number is known: as many as registers take. Where two blocks share these, rows
// of LONG_ROW chunks leave fewer: activations come in rounds of their own, or weights in more rounds than are unrolled.
template <class Q> constexpr int LONG_ROW = 256;
template <> constexpr int LONG_ROW<Q3_K> = 128;
template <> constexpr int LONG_ROW<Q5_K> = 80;
template <> constexpr int LONG_ROW<Q6_K> = 128;
template <class Q, int ROWS, bool NORM, int N_CHUNK, int K_SPLIT, int BLOCKS> __host__ __device__ constexpr int unrolled() {
  if (Q::FINE || !N_CHUNK) return 1;
  const int n_piece = N_CHUNK * (32 / Product<Q>::WIDTH), a_round = 32 * K_SPLIT;
  if (BLOCKS > 1 && Product<Q>::WIDTH == 32 && N_CHUNK >= LONG_ROW<Q>) {
    if (sizeof(typename Q::Raw) > 64) return N_CHUNK > 128 ? 1 : 2;
    if (NORM || n_piece > 3 * a_round) return sizeof(typename Q::Raw) * ROWS > 80 ? 1 : 2;
  }
  return n_piece <= 3 * a_round ? 3 : n_piece % a_round ? 2 : 4;
}

template <class Q, int WARPS, int ROWS, int UNROLLED>
__device__ __forceinline__ void from_stages(const Units& units, int n_chunk, const typename Product<Q>::X& x, float* part, const uint8_t* stages,
                                            int stage_bytes, Stages& s, int n_stage, const Share<WARPS, ROWS>& share, int first,
                                            int begin, int k_split) {
  const int n_block = Product<Q>::n_block(n_chunk), n_piece = n_chunk * (32 / Product<Q>::WIDTH), n_unit = units.end - units.begin;
  const int n_round = (n_piece + 32 * k_split - 1) / (32 * k_split);
  Ring ring = {n_stage, 0, 0};
  for (int unit = 0; unit < n_unit;) {
    mbarrier_wait(s.full + ring.at, ring.parity);
    const int n = s.n_unit[ring.at];
    if (share.first < n) {
      const uint8_t* rows = stages + ring.at * stage_bytes + first;
      float sum[ROWS] = {};
#pragma unroll (UNROLLED)
      for (int i = 0; i < n_round; i++) {
        const int c = begin + i * 32 * k_split;
        if (c >= n_piece) break;
        typename Q::Raw raw[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) raw[r] = Q::load(Staged{rows + r * share.step * units.row_bytes}, n_block, c);
        Product<Q>::multiply(raw, c, x, sum);
      }
      __syncwarp();
      if (share.lane == 0) mbarrier_arrive(s.empty + ring.at);
      share.store(sum, n, part);
    } else if (share.lane == 0) {
      mbarrier_arrive(s.empty + ring.at);
    }
    part += (units.gated ? 2 * n : n) * k_split;
    ring.next();
    unit += n;
  }
}
#endif

// Where a unit's number goes, and what is added to it.
struct Target {
  float* y;
  float bias = 0, rest = 0;
  __device__ __forceinline__ void find(int unit, int n0, int n1, float* y0, float* y1, float* y2, const float* add0, const float* add1,
                                       const float* add2) {
    const int which = unit < n0 ? 0 : unit < n0 + n1 ? 1 : 2, row = unit - (which > 0 ? n0 : 0) - (which > 1 ? n1 : 0);
    const float* add = which == 0 ? add0 : which == 1 ? add1 : add2;
    y = (which == 0 ? y0 : which == 1 ? y1 : y2) + row;
    bias = add ? __ldcg(add + row) : 0.0f;
  }
};

// When the kernel behind may start, and fill the memory's queues with copies of its own: at once, after the last copy of
// this one, or once the activations are here.
enum Trigger { AT_ONCE, COPIED, LOADED };

// Blocks that must fit a multiprocessor: where registers leave room for two, the kernel behind can start beside this one.
// On sm_100 and later many would spill. WIDE are types that take more registers than their raw bytes tell.
template <class Q> constexpr bool WIDE = Q::FINE;
template <> constexpr bool WIDE<TQ1_0> = true;
template <> constexpr bool WIDE<Q5_0> = true;
template <> constexpr bool WIDE<Q5_1> = true;
template <class Q, int ROWS, bool BULK>
constexpr int PER_SM = BULK && (WIDE<Q> || __CUDA_ARCH__ >= 1000) ? 1 : sizeof(typename Q::Raw) * ROWS <= (BULK ? 128 : 64) ? 2 : 1;

// Float4 that a thread has in hand: in as many rounds as LOADS takes, but no more than each of these needs.
template <int THREADS, int LOADS, int N_CHUNK> __host__ __device__ constexpr int round_loads() {
  const int needed = (N_CHUNK * 8 + THREADS - 1) / THREADS, n_round = (needed + LOADS - 1) / LOADS;
  return N_CHUNK ? (needed + n_round - 1) / n_round : LOADS;
}
__host__ __device__ constexpr int log2_of(int n) { return n > 1 ? 1 + log2_of(n / 2) : 0; }

template <class Q, int WARPS, int ROWS, int LOADS, bool NORM, bool BULK, int N_CHUNK, int K_SPLIT>
__global__ void __launch_bounds__(WARPS * 32 + (BULK ? 32 : 0), (PER_SM<Q, ROWS, BULK>))
stream_mul_mat(const float* __restrict__ x, const float* __restrict__ norm, float eps, float inverse, int n_chunk_given, const uint8_t* __restrict__ w0,
               const uint8_t* __restrict__ w1, const uint8_t* __restrict__ w2, const float* __restrict__ add0,
               const float* __restrict__ add1, const float* __restrict__ add2, const float* __restrict__ residual,
               float* __restrict__ y0, float* __restrict__ y1, float* __restrict__ y2, int n0, int n1, int n2, int glu, int log_split_given,
               int n_stage, int in_flight, int trigger) {
  constexpr int THREADS = WARPS * 32;
  const int n_chunk = N_CHUNK ? N_CHUNK : n_chunk_given, log_split = K_SPLIT ? log2_of(K_SPLIT) : log_split_given;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ float squares[WARPS];
  const bool gated = glu >= 0;
  const Units units(w0, w1, w2, n0, n1, n2, gated, Q::row_bytes(n_chunk));
  const int rows = WARPS * ROWS >> log_split, most = gated ? rows / 2 : rows;
  const int stage_bytes = rows * units.row_bytes;
  uint8_t* behind = shared + (BULK ? n_stage * stage_bytes : 0);
  const typename Product<Q>::X activations(behind, n_chunk);
  float* part = (float*)(behind + (n_chunk * Product<Q>::BYTES + 15 & ~15));

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
  const Share<WARPS, ROWS> share(log_split, gated);
  typename Q::Raw next[ROWS];
  if (!BULK) from_global<Q, WARPS, ROWS>(units, most, n_chunk, activations, part, next, share, true);
  Prologue<WARPS, round_loads<THREADS, LOADS, N_CHUNK>(), NORM, typename Product<Q>::X> prologue;
  prologue.prefetch(norm, n_chunk * 8);
  const int n_unit = units.end - units.begin, log_unit = log_split + gated, n_sum = n_unit << log_unit;
  Target target;
  const bool has_unit = (int)threadIdx.x >> log_unit < n_unit;
  const int my_unit = units.begin + ((int)threadIdx.x >> log_unit);
  if (has_unit) target.find(my_unit, n0, n1, y0, y1, y2, add0, add1, add2);
  int first = share.row0 * units.row_bytes, begin = share.slice * 32 + share.lane;
  settle(first), settle(begin);
  if (!BULK && trigger == COPIED) pdl_trigger();
  pdl_wait();

  // The first residual is read here, where its way from L2 takes no time of its own.
  if (residual && has_unit) target.rest = __ldcg(residual + my_unit);
  const float sum = prologue.run(x, norm, n_chunk * 8, activations);
  if (NORM) {
    const float total = warp_sum(sum);
    if (share.lane == 0) squares[share.warp] = total;
  }
  named_barrier(1, THREADS);
  if (trigger == LOADED) pdl_trigger();
#if __CUDA_ARCH__ >= 900
  if (BULK) from_stages<Q, WARPS, ROWS, unrolled<Q, ROWS, NORM, N_CHUNK, K_SPLIT, PER_SM<Q, ROWS, BULK>>()>(units, n_chunk, activations, part, shared, stage_bytes, stages, n_stage, share, first, begin, 1 << log_split);
#endif
  if (!BULK) from_global<Q, WARPS, ROWS>(units, most, n_chunk, activations, part, next, share, false);
  named_barrier(1, THREADS);

  float factor = 1;
  if (NORM) {
    float total = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) total += squares[i];
    factor = rsqrtf(total * inverse + eps);
  }
#pragma unroll 1
  for (int start = 0; start < n_sum; start += THREADS) {
    const int i = start + threadIdx.x, unit = i >> log_unit;
    if (i - share.lane >= n_sum) break;
    float sum = i < n_sum ? part[i] : 0.0f;
#pragma unroll 1
    for (int step = 1; step < share.k_split; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
    sum *= factor;
    const float up = gated ? __shfl_down_sync(~0u, sum, share.k_split) : 0.0f;
    if (i >= n_sum || i != unit << log_unit) continue;
    if (start) {
      target.find(units.begin + unit, n0, n1, y0, y1, y2, add0, add1, add2);
      if (residual) target.rest = __ldcg(residual + units.begin + unit);
    }
    *target.y = gated ? gated_unit(glu, sum, up) : sum + target.bias + target.rest;
  }
}
