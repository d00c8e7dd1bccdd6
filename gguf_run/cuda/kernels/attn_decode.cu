// attn_decode: attention of one token, its own key and value appended to the cache, in one kernel
//   q, k = rope(q), rope(k), each head before that times rsqrt(mean(x^2) + eps) * norm where there are norms
//   row `slot` of the caches = k, v as the cache's type stores them;  out = attention of q over keys 0 ... position
// q (n_head, D), k and v (n_head_kv, D) f32 with strides of heads; positions, slots, seq_ids (1) i32; `slot` is where
// position lies by the block table (or -1: no row is written); everything else as flash_attn.cuh says
// A set is up to HEADS query heads of one KV head: `each` of its `group` ones; grid = (sets of a KV head, KV heads, parts);
// block = 256; D = 64, 96, 128 or 256; page_size a power of two, 32 or more; at most MAX_SETS sets and MAX_PARTS parts
// More than two times `least` keys are cut into one part for each `least`, up to as many as the grid has (merging costs more
// than a second round of 128 keys): a part has a block for each set,
// whose warps take 16 keys at a time; the last block of a set merges its parts. A warp's first keys and values are on their
// way to registers before pdl_wait(): positions, tables and older keys are as the step found them. Bound by latency while
// keys are few, by memory beyond: K and V are read once, and the products are tensor cores'.
//
// The cached numbers are exact in f16; q and the weights of the softmax are each two f16 numbers, high + low, so that
// nothing is lost of f32 (attn_decode.cuh).
#include "attn_decode.cuh"

// When the kernel behind may start, as cuda/tuning.py numbers it: at once, once the first keys are on their way, or once the
// queries are there.
enum Trigger { AT_ONCE, COPIED, LOADED };

// Blocks of each set that have ended; all zero between launches.
__device__ unsigned arrived[MAX_SETS];

// What a launch is given.
struct Decode {
  const float *q, *k, *v, *q_norm, *k_norm, *sinks;
  unsigned char *k_cache, *v_cache;
  float *out, *workspace;
  long long k_stride, v_stride;
  float q_eps, k_eps;
  int position, slot, sequence;
};

// The heads of a set.
struct Set {
  int index, head_kv, first, n;
};

template <int D> struct Result {
  static constexpr int STRIDE = D + 4;  // banks
  float sum[WARPS][HEADS<D>][STRIDE];
};

template <class Cache, int D> struct Shared {
  Query<D> query;
  union {
    float head[HEADS<D> + 2][D];  // before the rotation
    Result<D> result;
    struct {
      float factor[HEADS<D>][MAX_PARTS];
      float4 sum[THREADS];
    } merge;
  };
  float2 turns[D / 2];
  __align__(16) unsigned char key[ROW_BYTES<Cache, D>], value[ROW_BYTES<Cache, D>];
  float2 state[WARPS][COLUMNS];  // of each warp and head: the level and the total
  float factor[HEADS<D>];
  // What is needed again after the loop, in which registers are dear.
  Set set;
  int n_part, new_slot;
  bool is_last;
};

// The heads that a warp brings in: of the queries, the key and the value, in this order, every WARPS-th.
template <class Cache, int D> struct Incoming {
  static constexpr int N = D / 32, MOST = (HEADS<D> + 2 + WARPS - 1) / WARPS;
  float x[MOST][N], weight[MOST][N];

  __device__ __forceinline__ void load_weights(const Decode& d, const Set& set) {
#pragma unroll
    for (int r = 0; r < MOST; r++) {
      const int job = warp_index() + r * WARPS;
      const float* norm = job < set.n ? d.q_norm : job == set.n ? d.k_norm : nullptr;
#pragma unroll
      for (int j = 0; j < N; j++) weight[r][j] = norm ? __ldg(norm + threadIdx.x % 32 + 32 * j) : 1.0f;
    }
  }
  __device__ __forceinline__ void load(const Attention& a, const Decode& d, const Set& set, bool has_new) {
#pragma unroll
    for (int r = 0; r < MOST; r++) {
      const int job = warp_index() + r * WARPS;
      const float* from = job < set.n    ? d.q + (set.first + job) * a.q_stride_head
                          : job == set.n ? d.k + set.head_kv * d.k_stride
                                         : d.v + set.head_kv * d.v_stride;
#pragma unroll
      for (int j = 0; j < N; j++) x[r][j] = job < set.n + 2 * has_new ? __ldcg(from + threadIdx.x % 32 + 32 * j) : 0.0f;
    }
  }
  // Norms and rotations; then queries are in shared.query, the new row in shared.key and shared.value.
  __device__ __forceinline__ void store(Shared<Cache, D>& shared, const Attention& a, const Rope& rope, const Decode& d, const Set& set,
                                        bool has_new) {
    const int lane = threadIdx.x % 32;
#pragma unroll 1  // code that is fetched takes longer than code that runs
    for (int job = warp_index(); job < set.n + 2 * has_new; job += WARPS) {
      const bool is_query = job < set.n, is_key = job == set.n;
      float squares = 0;
#pragma unroll
      for (int j = 0; j < N; j++) squares += x[0][j] * x[0][j];
      squares = warp_sum(squares);
      const float factor = (is_query ? d.q_norm : is_key ? d.k_norm : nullptr) ? rsqrtf(squares * (1.0f / D) + (is_query ? d.q_eps : d.k_eps)) : 1.0f;
      float* raw = shared.head[job];
#pragma unroll
      for (int j = 0; j < N; j++) raw[lane + 32 * j] = x[0][j] * factor * weight[0][j];
      __syncwarp();
#pragma unroll
      for (int j = 0; j < N; j++) {
        const float y = is_query || is_key ? rope_element(raw, lane + 32 * j, rope, shared.turns) : x[0][j];
        if (is_query)
          shared.query.put(job, lane + 32 * j, y * query_scale(a));
        else
          Cache::put(is_key ? shared.key : shared.value, lane + 32 * j, D, y);
      }
#pragma unroll
      for (int r = 1; r < MOST; r++)
#pragma unroll
        for (int j = 0; j < N; j++) x[r - 1][j] = x[r][j], weight[r - 1][j] = weight[r][j];
    }
  }
};

// The block's result: of head h of the set, elements 4 i ... 4 i + 3.
template <class Cache, int D>
__device__ __forceinline__ float4 merge_warps(const Shared<Cache, D>& shared, int h, int i, float2& state) {
  float top = negative_infinity(), total = 0;
  float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
  for (int w = 0; w < WARPS; w++) top = fmaxf(top, shared.state[w][h].x);
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    const float2 s = shared.state[w][h];
    const float factor = exp2f(s.x - (top == negative_infinity() ? 0 : top));
    total += factor * s.y;
    add_scaled(sum, factor, *(const float4*)(shared.result.sum[w][h] + 4 * i));
  }
  state = make_float2(top, total);
  return sum;
}

// The last block of a set: its parts' results, merged. states (n_part, HEADS), sums (n_part, HEADS, D)
template <class Cache, int D>
__device__ __forceinline__ void merge_parts(Shared<Cache, D>& shared, const Decode& d, const Set& set, const float2* states,
                                            const float* sums, int n_part) {
  constexpr int AHEAD = 8, N = MAX_PARTS / 32;
  const int n_vec = set.n * (D / 4), n_slice = THREADS / n_vec, slice = threadIdx.x / n_vec, vec = threadIdx.x % n_vec;
  const int h = vec / (D / 4), warp = warp_index(), lane = threadIdx.x % 32;
  float4 x[AHEAD];
  const auto load = [&](int first) {
#pragma unroll
    for (int j = 0; j < AHEAD; j++) {
      const int p = first + j * n_slice;
      x[j] = slice < n_slice && p < n_part ? __ldcg((const float4*)(sums + (long long)p * HEADS<D> * D) + vec) : make_float4(0, 0, 0, 0);
    }
  };
  load(slice);
  if (warp < set.n) {
    float2 s[N];
    float top = negative_infinity(), total = 0;
#pragma unroll
    for (int j = 0; j < N; j++) {
      const int p = lane + 32 * j;
      s[j] = p < n_part ? __ldcg(states + p * HEADS<D> + warp) : make_float2(negative_infinity(), 0);
    }
#pragma unroll
    for (int j = 0; j < N; j++) top = fmaxf(top, s[j].x);
    top = warp_max(top);
#pragma unroll
    for (int j = 0; j < N; j++) {
      const float factor = exp2f(s[j].x - (top == negative_infinity() ? 0 : top));
      total += factor * s[j].y;
      shared.merge.factor[warp][lane + 32 * j] = factor;
    }
    total = warp_sum(total);
    if (lane == 0) shared.factor[warp] = final_factor(top, total, d.sinks, set.first + warp);
  }
  __syncthreads();
  float4 sum = make_float4(0, 0, 0, 0);
  for (int first = slice; first < n_part;) {
#pragma unroll
    for (int j = 0; j < AHEAD; j++) add_scaled(sum, first + j * n_slice < n_part ? shared.merge.factor[h][first + j * n_slice] : 0.0f, x[j]);
    first += AHEAD * n_slice;
    load(first);
  }
  if (slice > 0) shared.merge.sum[threadIdx.x] = sum;
  __syncthreads();
  if (slice > 0) return;
  for (int i = 1; i < n_slice; i++) add_scaled(sum, 1, shared.merge.sum[i * n_vec + vec]);
  ((float4*)(d.out + (long long)set.first * D))[vec] = scaled(shared.factor[h], sum);
}

// A set's heads over one part of the keys: each warp's result in shared memory.
template <class Cache, int D>
__device__ __forceinline__ void attend(Shared<Cache, D>& shared, const Attention& a, const Rope& rope, const Decode& d, const int* block_table,
                                       const float* factors, const Set& set, int n_part, int trigger) {
  const int begin = a.window > 0 ? max(0, d.position - a.window + 1) : 0;
  // Batches of the sequence, and the part's; the last parts may be empty.
  const int batch0 = begin / BATCH, n_batch = d.position / BATCH + 1 - batch0, each = n_part > 1 ? (n_batch + n_part - 1) / n_part : n_batch;
  const int from = blockIdx.z * each, to = min(n_batch, from + each);
  const bool has_new = d.slot >= 0 && from < n_batch && to == n_batch;
  const int end = min(d.position + (d.slot < 0), (batch0 + to) * BATCH);
  const KeyRows rows = {d.k_cache, d.v_cache, block_table + (long long)d.sequence * a.n_page_max, begin, end};

  constexpr int STEP = WARPS * BATCH;
  int first = (batch0 + from + warp_index()) * BATCH, row = rows.row_of(a, first);
  Batch<Cache, D> batch;
  batch.load_keys(rows, first, row), batch.load_values(rows, first, row);
  row = rows.row_of(a, first + STEP);
  if (trigger == COPIED) pdl_trigger();
  rope_turns(shared.turns, rope, d.position, factors);
  shared.query.clear(set.n);
  Incoming<Cache, D> incoming;
  incoming.load_weights(d, set);
  if (threadIdx.x == 0) shared.set = set, shared.n_part = n_part, shared.new_slot = has_new ? d.slot : -1;
  __syncthreads();
  pdl_wait();
  incoming.load(a, d, set, has_new);
  incoming.store(shared, a, rope, d, set, has_new);
  __syncthreads();
  if (trigger == LOADED) pdl_trigger();

  State<D> state;
  for (; first < end + has_new; first += STEP) {
    if (has_new && end - first < BATCH) batch.put(shared.key, shared.value, end - first);
    float score[4];
    batch.scores(shared.query, score);
    batch.load_keys(rows, first + STEP, row);
    state.weigh(a, score, first, begin, end + has_new);
    batch.add_values(state, score);
    batch.load_values(rows, first + STEP, row);
    row = rows.row_of(a, first + 2 * STEP);
  }
  state.store(shared.state[threadIdx.x / 32], shared.result.sum[threadIdx.x / 32], shared.set.n);
}

// The new row goes into the cache; others read it in later steps alone.
template <class Cache, int D> __device__ __forceinline__ void append(const Shared<Cache, D>& shared, const Attention& a, const Decode& d) {
  const long long row = cache_row(shared.new_slot, shared.set.head_kv, a.n_head_kv, a.page_size) * ROW_BYTES<Cache, D>;
#pragma unroll 1
  for (int i = THREADS - 1 - threadIdx.x; i < ROW_BYTES<Cache, D> / 2; i += THREADS) {  // the last threads merge nothing, mostly
    ((unsigned short*)(d.k_cache + row))[i] = ((const unsigned short*)shared.key)[i];
    ((unsigned short*)(d.v_cache + row))[i] = ((const unsigned short*)shared.value)[i];
  }
}

// The warps' results become the block's, and the blocks' the set's.
template <class Cache, int D> __device__ __forceinline__ void finish(Shared<Cache, D>& shared, const Decode& d) {
  const Set set = shared.set;
  const int part = blockIdx.z, n_part = shared.n_part;
  float2* states = (float2*)d.workspace + (long long)set.index * n_part * HEADS<D>;
  float* sums = d.workspace + (2ll * gridDim.x * gridDim.y + (long long)set.index * D) * n_part * HEADS<D>;
  if (threadIdx.x < set.n * (D / 4)) {
    const int h = threadIdx.x / (D / 4), i = threadIdx.x % (D / 4);
    float2 of_block;
    const float4 sum = merge_warps(shared, h, i, of_block);
    if (n_part == 1) {
      ((float4*)(d.out + (long long)set.first * D))[threadIdx.x] = scaled(final_factor(of_block.x, of_block.y, d.sinks, set.first + h), sum);
    } else {
      ((float4*)(sums + (long long)part * HEADS<D> * D))[threadIdx.x] = sum;
      if (i == 0) states[part * HEADS<D> + h] = of_block;
    }
  }
  if (n_part == 1) return;
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.is_last = add_acquire_release(arrived + set.index, 1) == n_part - 1;
    if (shared.is_last) arrived[set.index] = 0;
  }
  __syncthreads();
  if (shared.is_last) merge_parts(shared, d, set, states, sums, n_part);
}

template <class Cache, int D>
__global__ void __launch_bounds__(THREADS, 1)
attn_decode(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, const float* __restrict__ q_norm,
            const float* __restrict__ k_norm, const int* __restrict__ positions, const int* __restrict__ slots,
            const int* __restrict__ seq_ids, const int* __restrict__ block_table, const float* __restrict__ factors,
            const float* __restrict__ sinks, unsigned char* k_cache, unsigned char* v_cache, float* __restrict__ out,
            float* workspace, Attention a, Rope rope, long long k_stride, long long v_stride, float q_eps, float k_eps, int group,
            int each, int least, int trigger) {
  __shared__ Shared<Cache, D> shared;
  if (trigger == AT_ONCE) pdl_trigger();
  const Decode d = {q, k, v, q_norm, k_norm, sinks, k_cache, v_cache, out, workspace, k_stride, v_stride, q_eps, k_eps,
                    positions[0], slots[0], seq_ids[0]};
  const int seen = a.window > 0 ? min(d.position + 1, a.window) : d.position + 1;
  const int n_part = gridDim.z > 1 && seen > 2 * least ? min((int)gridDim.z, (seen + least - 1) / least) : 1;
  if (blockIdx.z >= n_part) return pdl_leave();
  const int first = blockIdx.x * each;
  const Set set = {(int)(blockIdx.y * gridDim.x + blockIdx.x), (int)blockIdx.y, (int)blockIdx.y * group + first, min(each, group - first)};
  attend<Cache, D>(shared, a, rope, d, block_table, factors, set, n_part, trigger);
  __syncthreads();
  if (shared.new_slot >= 0 && blockIdx.x == 0) append(shared, a, d);
  finish(shared, d);
}
