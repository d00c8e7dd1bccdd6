// attn_decode: attention of one token, its own key and value appended to the cache, in one kernel
//   q, k = rope(q), rope(k), each head before that times rsqrt(mean(x^2) + eps) * norm where there are norms
//   row `slot` of the caches = k, v as the cache's type stores them;  out = attention of q over keys 0 ... position
// q (n_head, D), k and v (n_head_kv, D) f32 with strides of heads; positions, slots, seq_ids (1) i32; `slot` is where
// position lies by the block table (or -1: no row is written); everything else as flash_attn.cuh says
// grid >= n_head and >= sets of H query heads; block = 256; D = 64, 96, 128 or 256; page_size % 32 == 0
// Up to `brief` keys a block has one query head and all keys; eight rounds of loads a warp are in registers before
// pdl_wait(), so that short contexts cost little more than the launch: bound by latency. Beyond that a block has up to H
// query heads of a group, which share each load, and one of n_split parts of the keys: bound by memory. With BULK (sm_90)
// `n_stage` tiles of keys are on their way to shared memory (n_stage tiles of K and V); else keys come to registers. The
// last block of a set merges its parts. Positions, tables and older keys are as the step found them and may be read before
// the wait.
#include "cache_types.cuh"
#include "flash_attn.cuh"
#include "rope.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS, MAX_SETS = 1024;
constexpr int TILE = 32, MAX_STAGES = 4;  // keys of a tile, tiles in shared memory

// Blocks of each set that have ended; all zero between launches.
__device__ unsigned arrived[MAX_SETS];

// Eight neighbours of a cached row, the i-th eight.
template <class Cache> struct Piece;

template <> struct Piece<CacheF16> {
  uint4 raw;
  __device__ __forceinline__ void clear() { raw = make_uint4(0, 0, 0, 0); }
  __device__ __forceinline__ void load(const unsigned char* row, int i) { raw = ((const uint4*)row)[i]; }
  __device__ __forceinline__ void get(float (&x)[8]) const {
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float2 pair = __half22float2(*(const __half2*)&words[j]);
      x[2 * j] = pair.x, x[2 * j + 1] = pair.y;
    }
  }
};

template <> struct Piece<CacheQ8_0> {
  unsigned low, high;  // blocks are only 2-byte aligned
  unsigned short d;
  __device__ __forceinline__ void clear() { low = high = 0, d = 0; }
  __device__ __forceinline__ void load(const unsigned char* row, int i) {
    const unsigned short* block = (const unsigned short*)(row + i / 4 * CacheQ8_0::BYTES);
    const unsigned short* q = block + 1 + i % 4 * 4;
    d = block[0];
    low = q[0] | (unsigned)q[1] << 16, high = q[2] | (unsigned)q[3] << 16;
  }
  __device__ __forceinline__ void get(float (&x)[8]) const {
    const float scale = __half2float(__ushort_as_half(d));
#pragma unroll
    for (int j = 0; j < 4; j++) {
      x[j] = scale * (signed char)(low >> 8 * j), x[j + 4] = scale * (signed char)(high >> 8 * j);
    }
  }
};

// A key's lanes: PER_KEY of them hold eight elements each (of D = 96 four hold none), KEYS keys a warp.
template <int D> struct Lanes {
  static constexpr int PER_KEY = D <= 64 ? 8 : D <= 128 ? 16 : 32, KEYS = 32 / PER_KEY, PIECES = D / 8;
};

// Where one KV head's keys lie.
struct Keys {
  const unsigned char *k, *v;
  const int* pages;
  int head_kv, begin, end;  // keys begin <= key < end are in the cache and seen
};

// KEYS * R neighbouring keys of a warp, in registers.
template <class Cache, int D, int R> struct Batch {
  static constexpr int KEYS = Lanes<D>::KEYS, SIZE = KEYS * R;
  Piece<Cache> k[R], v[R];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < R; r++) k[r].clear(), v[r].clear();
  }
  __device__ __forceinline__ void get_k(int r, float (&x)[8]) const { k[r].get(x); }
  __device__ __forceinline__ void get_v(int r, float (&x)[8]) const { v[r].get(x); }

  __device__ __forceinline__ void load(const Attention& a, const Keys& keys, int first) {
    const int group = threadIdx.x % 32 / Lanes<D>::PER_KEY, piece = threadIdx.x % Lanes<D>::PER_KEY;
    const bool any = first < keys.end;
    const long long row0 = any ? ((long long)keys.pages[first / a.page_size] * a.n_head_kv + keys.head_kv) * a.page_size + first % a.page_size : 0;
#pragma unroll
    for (int r = 0; r < R; r++) {
      const int key = first + r * KEYS + group;
      const bool valid = key >= keys.begin && key < keys.end && piece < Lanes<D>::PIECES;
      k[r].clear();
      if (valid) k[r].load(keys.k + (row0 + key - first) * a.k_row_bytes, piece);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
      const int key = first + r * KEYS + group;
      const bool valid = key >= keys.begin && key < keys.end && piece < Lanes<D>::PIECES;
      v[r].clear();
      if (valid) v[r].load(keys.v + (row0 + key - first) * a.v_row_bytes, piece);
    }
  }
};

// The same in shared memory: row 0 of k and v is key `first`; of rows that are no seen keys nothing is read.
template <class Cache, int D> struct Staged {
  const unsigned char *k, *v;
  int first, begin, end;

  __device__ __forceinline__ void get(const unsigned char* rows, int r, float (&x)[8]) const {
    constexpr int PER_KEY = Lanes<D>::PER_KEY;
    const int row = r * Lanes<D>::KEYS + threadIdx.x % 32 / PER_KEY, piece = threadIdx.x % PER_KEY, key = first + row;
    Piece<Cache> p;
    p.clear();
    if (key >= begin && key < end && piece < Lanes<D>::PIECES) p.load(rows + row * (D / Cache::SIZE * Cache::BYTES), piece);
    p.get(x);
  }
  __device__ __forceinline__ void get_k(int r, float (&x)[8]) const { get(k, r, x); }
  __device__ __forceinline__ void get_v(int r, float (&x)[8]) const { get(v, r, x); }
};

// The softmax so far of N query heads over the keys of these lanes.
template <int N> struct State {
  float top[N], total[N], sum[N][8];
  __device__ __forceinline__ State() {
#pragma unroll
    for (int h = 0; h < N; h++) {
      top[h] = negative_infinity(), total[h] = 0;
#pragma unroll
      for (int i = 0; i < 8; i++) sum[h][i] = 0;
    }
  }
  // Makes `m` the largest score of head h; returns what scores are taken relative to.
  __device__ __forceinline__ float raise(int h, float m) {
    m = fmaxf(top[h], m);
    const float base = m == negative_infinity() ? 0 : m, shrink = exp2f(top[h] - base);
    total[h] *= shrink;
#pragma unroll
    for (int i = 0; i < 8; i++) sum[h][i] *= shrink;
    top[h] = m;
    return base;
  }
};

// Adds a batch; its first key is `first`, and keys begin <= key < end count.
template <int D, int N, int R, class Source>
__device__ __forceinline__ void add(State<N>& state, const Source& batch, const Attention& a, const float (&q)[N][8], int first,
                                    int begin, int end) {
  constexpr int PER_KEY = Lanes<D>::PER_KEY, KEYS = Lanes<D>::KEYS;
  const int group = threadIdx.x % 32 / PER_KEY;
  float score[R][N];
#pragma unroll
  for (int r = 0; r < R; r++) {
    float x[8];
    batch.get_k(r, x);
#pragma unroll
    for (int h = 0; h < N; h++) {
      score[r][h] = 0;
#pragma unroll
      for (int i = 0; i < 8; i++) score[r][h] += q[h][i] * x[i];
    }
  }
#pragma unroll
  for (int r = 0; r < R; r++)
#pragma unroll
    for (int h = 0; h < N; h++) {
      const float s = warp_sum<PER_KEY>(score[r][h]);
      const int key = first + r * KEYS + group;
      score[r][h] = key >= begin && key < end ? cap_score(a, s) : negative_infinity();
    }
#pragma unroll
  for (int h = 0; h < N; h++) {
    float m = score[0][h];
#pragma unroll
    for (int r = 1; r < R; r++) m = fmaxf(m, score[r][h]);
    const float base = state.raise(h, m);
#pragma unroll
    for (int r = 0; r < R; r++) {
      score[r][h] = exp2f(score[r][h] - base);
      state.total[h] += score[r][h];
    }
  }
#pragma unroll
  for (int r = 0; r < R; r++) {
    float x[8];
    batch.get_v(r, x);
#pragma unroll
    for (int h = 0; h < N; h++)
#pragma unroll
      for (int i = 0; i < 8; i++) state.sum[h][i] += score[r][h] * x[i];
  }
}

// One result of N heads: (top, total) and D sums of each.
template <int D, int N> struct Result {
  float2 state[N];
  float sum[N][D];
};

template <class Cache, int D, int H> struct Shared {
  float2 turns[D / 2];
  float head[H + 2][D], query[H][D];
  __align__(16) unsigned char key[D / Cache::SIZE * Cache::BYTES + 16], value[D / Cache::SIZE * Cache::BYTES + 16];
  Result<D, H> result[WARPS];
  unsigned long long full[MAX_STAGES];
  bool is_last;
};

// What a launch is given.
struct Decode {
  const float *q, *k, *v, *q_norm, *k_norm, *sinks;
  unsigned char *k_cache, *v_cache;
  float *out, *workspace;
  long long k_stride, v_stride;
  float q_eps, k_eps;
  int position, slot, sequence;
};

// Merges the lanes of a warp that hold the same elements of different keys.
template <int D, int N> __device__ __forceinline__ void merge_lanes(State<N>& state) {
#pragma unroll
  for (int step = Lanes<D>::PER_KEY; step < 32; step *= 2) {
#pragma unroll
    for (int h = 0; h < N; h++) {
      const float top = state.top[h], m = fmaxf(top, __shfl_xor_sync(~0u, top, step));
      const float factor = exp2f(top - (m == negative_infinity() ? 0 : m));
      state.top[h] = m;
      state.total[h] *= factor;
      state.total[h] += __shfl_xor_sync(~0u, state.total[h], step);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        state.sum[h][i] *= factor;
        state.sum[h][i] += __shfl_xor_sync(~0u, state.sum[h][i], step);
      }
    }
  }
}

// A warp brings one head in: normalised and rotated, or as it is.
template <int D>
__device__ __forceinline__ void load_head(const float* x, const float (&weight)[D / 32], bool has_norm, float eps, float* raw) {
  const int lane = threadIdx.x % 32;
  float value[D / 32], squares = 0;
#pragma unroll
  for (int j = 0; j < D / 32; j++) value[j] = __ldcg(x + lane + 32 * j);
#pragma unroll
  for (int j = 0; j < D / 32; j++) squares += value[j] * value[j];
  const float factor = has_norm ? rsqrtf(warp_sum(squares) / D + eps) : 1.0f;
#pragma unroll
  for (int j = 0; j < D / 32; j++) raw[lane + 32 * j] = has_norm ? value[j] * factor * weight[j] : value[j];
  __syncwarp();
}

#if __CUDA_ARCH__ >= 900
// Tiles of keys on their way to shared memory; slot i holds the tiles i, i + n_stage ... of the part.
template <class Cache, int D> struct Ring {
  static constexpr int ROW_BYTES = D / Cache::SIZE * Cache::BYTES, TILE_BYTES = TILE * ROW_BYTES;
  unsigned long long* full;
  unsigned char* tiles;
  int n_stage;

  __device__ __forceinline__ unsigned char* keys(int slot) const { return tiles + slot * 2 * TILE_BYTES; }
  __device__ __forceinline__ unsigned char* values(int slot) const { return keys(slot) + TILE_BYTES; }
  // One thread starts the copies of a tile, which lies in one page.
  __device__ __forceinline__ void start(const Attention& a, const Keys& from, int tile, int slot) const {
    const int first = tile * TILE;
    const long long row = ((long long)from.pages[first / a.page_size] * a.n_head_kv + from.head_kv) * a.page_size + first % a.page_size;
    mbarrier_arrive_expect(full + slot, 2 * TILE_BYTES);
    bulk_copy(keys(slot), from.k + row * ROW_BYTES, TILE_BYTES, full + slot);
    bulk_copy(values(slot), from.v + row * ROW_BYTES, TILE_BYTES, full + slot);
  }
};
#endif

// N query heads of one KV head, from `first_head` on (`n_head` of them exist), over one part of the keys.
template <class Cache, int D, int H, int N, int R, bool RING>
__device__ __forceinline__ void attend(Shared<Cache, D, H>& shared, const Attention& a, const Rope& rope, const Decode& x,
                                       const int* block_table, const float* factors, int head_kv, int first_head, int n_head,
                                       int set, int n_set, int part, int n_part, int n_stage, bool late_trigger) {
  constexpr int SIZE = RING ? TILE : Batch<Cache, D, R>::SIZE;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, piece = lane % Lanes<D>::PER_KEY;
  const int n_cached = x.slot < 0 ? x.position + 1 : x.position;
  const int begin = a.window > 0 ? max(0, x.position - a.window + 1) : 0;
  // The part's batches: batch b has keys b * SIZE and on.
  const int batch0 = begin / SIZE, n_batch = (n_cached + SIZE - 1) / SIZE - batch0;
  const int from = batch0 + (int)((long long)n_batch * part / n_part), to = batch0 + (int)((long long)n_batch * (part + 1) / n_part);
  const Keys keys = {x.k_cache, x.v_cache, block_table + (long long)x.sequence * a.n_page_max, head_kv, begin, min(n_cached, to * SIZE)};
  const bool has_new = x.slot >= 0 && part == n_part - 1;

  Batch<Cache, D, R> batch;
  int b = from + warp;
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) unsigned char tiles[];
  const Ring<Cache, D> ring = {shared.full, tiles, n_stage};
  if (RING) {
    if (threadIdx.x < n_stage) {
      mbarrier_init(shared.full + threadIdx.x, 1);
      mbarrier_fence();
      if (from + (int)threadIdx.x < to) ring.start(a, keys, from + threadIdx.x, threadIdx.x);
    }
  }
#endif
  if (!RING) batch.load(a, keys, b * SIZE);
  if (late_trigger) pdl_trigger();
  const bool is_query = warp < N, is_key = warp == N;
  const float* norm = is_query ? x.q_norm : is_key ? x.k_norm : nullptr;
  float weight[D / 32];
#pragma unroll
  for (int j = 0; j < D / 32; j++) weight[j] = norm ? __ldg(norm + lane + 32 * j) : 1.0f;
  rope_turns(shared.turns, rope, x.position, factors);
  __syncthreads();
  pdl_wait();

  if (is_query && warp < n_head) {
    load_head<D>(x.q + (first_head + warp) * a.q_stride_head, weight, norm, x.q_eps, shared.head[warp]);
    for (int i = lane; i < D; i += 32) shared.query[warp][i] = rope_element(shared.head[warp], i, rope, shared.turns) * query_scale(a);
  } else if (is_query) {
    for (int i = lane; i < D; i += 32) shared.query[warp][i] = 0;
  } else if (has_new && is_key) {
    load_head<D>(x.k + head_kv * x.k_stride, weight, norm, x.k_eps, shared.head[N]);
    for (int i = lane; i < D; i += 32) Cache::put(shared.key, i, D, rope_element(shared.head[N], i, rope, shared.turns));
  } else if (has_new && warp == N + 1) {
    for (int i = lane; i < D; i += 32) Cache::put(shared.value, i, D, __ldcg(x.v + head_kv * x.v_stride + i));
  }
  __syncthreads();

  float q[N][8];
#pragma unroll
  for (int h = 0; h < N; h++)
#pragma unroll
    for (int i = 0; i < 8; i++) q[h][i] = piece < Lanes<D>::PIECES ? shared.query[h][piece * 8 + i] : 0.0f;
  State<N> state;
  bool new_left = has_new && warp == WARPS - 1;
#if __CUDA_ARCH__ >= 900
  if (RING) {
    constexpr int ROWS = TILE / WARPS, ROW_BYTES = Ring<Cache, D>::ROW_BYTES;  // a warp's rows of a tile
    for (int tile = from, slot = 0, parity = 0; tile < to || new_left; tile++) {
      Staged<Cache, D> rows = {shared.key, shared.value, x.position, x.position, x.position + 1};
      if (tile < to) {
        mbarrier_wait(shared.full + slot, parity);
        const int row = warp * ROWS;
        rows = {ring.keys(slot) + row * ROW_BYTES, ring.values(slot) + row * ROW_BYTES, tile * TILE + row, keys.begin, keys.end};
      } else {
        new_left = false;
      }
      add<D, N, ROWS / Lanes<D>::KEYS>(state, rows, a, q, rows.first, rows.begin, rows.end);
      if (tile >= to) break;
      __syncthreads();
      if (threadIdx.x == 0 && tile + n_stage < to) ring.start(a, keys, tile + n_stage, slot);
      if (++slot == n_stage) slot = 0, parity ^= 1;
    }
  }
#endif
  if (!RING)
    for (; b < to || new_left; b += WARPS) {
      const bool cached = b < to;
      if (!cached) {
        batch.clear();
        if (lane < Lanes<D>::PIECES) batch.k[0].load(shared.key, lane), batch.v[0].load(shared.value, lane);
        new_left = false;
      } else if (b >= from + WARPS) {
        batch.load(a, keys, b * SIZE);
      }
      const int first = cached ? b * SIZE : x.position;
      add<D, N, R>(state, batch, a, q, first, cached ? keys.begin : first, cached ? keys.end : first + 1);
      if (!cached) break;
    }
  merge_lanes<D, N>(state);
  Result<D, H>& mine = shared.result[warp];
#pragma unroll
  for (int h = 0; h < N; h++) {
    if (lane == 0) mine.state[h] = make_float2(state.top[h], state.total[h]);
    if (lane < Lanes<D>::PIECES)
#pragma unroll
      for (int i = 0; i < 8; i++) mine.sum[h][lane * 8 + i] = state.sum[h][i];
  }
  // The new row goes into the cache; others read it in later steps alone.
  if (has_new && first_head % (a.n_head / a.n_head_kv) == 0) {
    const long long row = cache_row(x.slot, head_kv, a.n_head_kv, a.page_size);
    for (int i = threadIdx.x; i < D / Cache::SIZE * Cache::BYTES / 2; i += THREADS) {
      ((unsigned short*)(x.k_cache + row * a.k_row_bytes))[i] = ((const unsigned short*)shared.key)[i];
      ((unsigned short*)(x.v_cache + row * a.v_row_bytes))[i] = ((const unsigned short*)shared.value)[i];
    }
  }
  __syncthreads();

  float2* states = (float2*)x.workspace + (long long)set * n_part * N;
  float* sums = x.workspace + (2ll * n_set + (long long)set * D) * n_part * N;
  for (int i = threadIdx.x; i < N * D; i += THREADS) {
    const int h = i / D, column = i % D;
    float top = negative_infinity(), total = 0, sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, shared.result[w].state[h].x);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float factor = exp2f(shared.result[w].state[h].x - (top == negative_infinity() ? 0 : top));
      total += factor * shared.result[w].state[h].y, sum += factor * shared.result[w].sum[h][column];
    }
    if (n_part == 1) {
      if (h < n_head) x.out[(long long)(first_head + h) * D + column] = sum * final_factor(top, total, x.sinks, first_head + h);
    } else {
      sums[((long long)part * N + h) * D + column] = sum;
      if (column == 0) states[part * N + h] = make_float2(top, total);
    }
  }
  if (n_part == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.is_last = atomicAdd(arrived + set, 1u) == n_part - 1u;
    if (shared.is_last) arrived[set] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!shared.is_last) return;
  for (int i = threadIdx.x; i < n_head * D; i += THREADS) {
    const int h = i / D, column = i % D;
    float top = negative_infinity(), total = 0, sum = 0;
    for (int p = 0; p < n_part; p++) top = fmaxf(top, __ldcg(states + p * N + h).x);
#pragma unroll 4
    for (int p = 0; p < n_part; p++) {
      const float2 s = __ldcg(states + p * N + h);
      const float factor = exp2f(s.x - (top == negative_infinity() ? 0 : top));
      total += factor * s.y, sum += factor * __ldcg(sums + ((long long)p * N + h) * D + column);
    }
    x.out[(long long)(first_head + h) * D + column] = sum * final_factor(top, total, x.sinks, first_head + h);
  }
}

// Blocks that must fit a multiprocessor. Where two of four heads would spill a few registers, one.
template <int D, int H> constexpr int PER_SM = H == 4 && (D == 256 ? __CUDA_ARCH__ >= 900 : __CUDA_ARCH__ >= 1200) ? 1 : 2;

template <class Cache, int D, int H, bool BULK>
__global__ void __launch_bounds__(256, (PER_SM<D, H>))
attn_decode(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, const float* __restrict__ q_norm,
            const float* __restrict__ k_norm, const int* __restrict__ positions, const int* __restrict__ slots,
            const int* __restrict__ seq_ids, const int* __restrict__ block_table, const float* __restrict__ factors,
            const float* __restrict__ sinks, unsigned char* k_cache, unsigned char* v_cache, float* __restrict__ out,
            float* __restrict__ workspace, Attention a, Rope rope, long long k_stride, long long v_stride, float q_eps, float k_eps,
            int brief, int n_stage, int late_trigger) {
  __shared__ Shared<Cache, D, H> shared;
  if (!late_trigger) pdl_trigger();
  const Decode x = {q, k, v, q_norm, k_norm, sinks, k_cache, v_cache, out, workspace, k_stride, v_stride, q_eps, k_eps,
                    positions[0], slots[0], seq_ids[0]};
  const int group = a.n_head / a.n_head_kv, seen = a.window > 0 ? min(x.position + 1, a.window) : x.position + 1;
  if (seen <= brief) {
    const int head = blockIdx.x;
    if (head >= a.n_head)
      pdl_leave();
    else
      attend<Cache, D, H, 1, Cache::SIZE == 1 ? 8 : 4, false>(shared, a, rope, x, block_table, factors, head / group, head, 1, head, a.n_head, 0, 1, 0, late_trigger);
    return;
  }
  const int per_kv = (group + H - 1) / H, n_set = a.n_head_kv * per_kv, set = blockIdx.x % n_set, part = blockIdx.x / n_set;
  const int n_part = min((int)gridDim.x / n_set, a.n_split);
  if (part >= n_part) return pdl_leave();
  const int head_kv = set / per_kv, first = set % per_kv * H;
  attend<Cache, D, H, H, H == 4 ? 2 : 4, BULK>(shared, a, rope, x, block_table, factors, head_kv, head_kv * group + first, min(H, group - first), set,
                                             n_set, part, n_part, n_stage, late_trigger);
}
