// flash_attn_ext_f32_vec: attention (graph.py: flash_attn_ext) in f32 throughout, for caches of any type and heads of
// any size: what the tensor-core kernel can't do, or not exactly (f32 caches)
// q (n_tok, n_head, d_k) f32 with strides; k, v paged caches with a row stride; out (n_tok, n_head, d_v) f32
// grid = (tiles, n_head_kv * ceil(d_v / 128), n_split), block = 128, rows_per_tile <= 16, n_key <= 32
// shared memory: 16 d_k + n_key (d_k + 1) + 16 n_key floats
// K is decoded into shared memory, a score a thread; then a thread a column of V: bound by shared-memory reads
#include "cache_types.cuh"
#include "flash_attn.cuh"

constexpr int ROWS = 16, THREADS = 128;


__device__ __forceinline__ float element(int type, const unsigned char* row, int i) {
  return type == F32 ? CacheF32::get(row, i) : type == F16 ? CacheF16::get(row, i)
       : type == Q8_0 ? CacheQ8_0::get(row, i) : CacheQ4_0::get(row, i);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) flash_attn_ext_f32_vec(
    const float* __restrict__ q, const unsigned char* __restrict__ k, const unsigned char* __restrict__ v,
    const int* __restrict__ positions, const int* __restrict__ seq_ids, const int* __restrict__ block_table,
    const float* __restrict__ sinks, float* __restrict__ out, float* __restrict__ workspace, Attention a, int type_k,
    int type_v, int d_k, int d_v, int n_key) {
  pdl_trigger();  // the merge may come to wait
  extern __shared__ float shared[];
  __shared__ Rows<ROWS> rows;
  __shared__ float top[ROWS], total[ROWS], shrink[ROWS];
  float *query = shared, *keys = query + ROWS * d_k, *weight = keys + n_key * (d_k + 1);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int column = blockIdx.y / a.n_head_kv * THREADS + threadIdx.x;
  const Tile t = begin_tile(a, gridDim.x - 1 - blockIdx.x, blockIdx.y % a.n_head_kv, positions, seq_ids, rows);
  const float scale = query_scale(a);
  for (int i = threadIdx.x; i < ROWS * d_k; i += THREADS) {
    const int row = i / d_k;
    query[i] = row < t.n ? q[t.token(row) * a.q_stride_tok + t.head(row) * a.q_stride_head + i % d_k] * scale : 0;
  }
  if (threadIdx.x < ROWS) top[threadIdx.x] = negative_infinity(), total[threadIdx.x] = 0;
  float sum[ROWS] = {};
  __syncthreads();

  for (int first = 0; first < t.n;) {
    const Segment s = segment_at(a, t, positions, seq_ids, rows, first);
    const KeyTiles tiles = key_tiles(a, s, n_key);
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      const int key0 = tile * n_key, begin = max(0, s.begin - key0), end = min(n_key, s.end - key0);
      const long long row0 = key_row(a, block_table, s.sequence, t.head_kv, key0);
      for (int i = threadIdx.x; i < n_key * d_k; i += THREADS) {
        const int key = i / d_k;
        if (key >= begin && key < end)
          keys[key * (d_k + 1) + i % d_k] = element(type_k, k + (row0 + key) * a.k_row_bytes, i % d_k);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < ROWS * n_key; i += THREADS) {
        const int row = i / n_key, key = i % n_key;
        float score = negative_infinity();
        if (row >= first && row < s.end_row && sees(a, s, rows.last[row], key0 + key)) {
          score = 0;
          for (int d = 0; d < d_k; d++) score += query[row * d_k + d] * keys[key * (d_k + 1) + d];
          score = cap_score(a, score);
          if (a.max_bias > 0) score -= alibi(a, rows.slope[row], rows.last[row], key0 + key);
        }
        weight[i] = score;
      }
      __syncthreads();
      for (int row = warp; row < ROWS; row += THREADS / 32) {  // the softmax so far
        const float score = lane < n_key ? weight[row * n_key + lane] : negative_infinity();
        const float m = fmaxf(top[row], warp_max(score)), base = m == negative_infinity() ? 0 : m;
        const float p = exp2f(score - base), l = warp_sum(p);
        if (lane < n_key) weight[row * n_key + lane] = p;
        if (lane == 0) {
          shrink[row] = exp2f(top[row] - base);
          total[row] = total[row] * shrink[row] + l;
          top[row] = m;
        }
        __syncwarp();
      }
      __syncthreads();
      if (column < d_v) {
#pragma unroll
        for (int row = 0; row < ROWS; row++) sum[row] *= shrink[row];
        // Only keys that some row sees: others may never have been written.
        for (int key = begin; key < end; key++) {
          const float x = element(type_v, v + (row0 + key) * a.v_row_bytes, column);
#pragma unroll
          for (int row = 0; row < ROWS; row++) sum[row] += weight[row * n_key + key] * x;
        }
      }
      __syncthreads();
    }
    first = s.end_row;
  }

  const Partial partial(workspace, a);
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    if (row >= t.n) break;
    const long long target = output_row(a, t, row);
    if (a.n_split == 1) {
      if (column < d_v) out[target * d_v + column] = sum[row] * final_factor(top[row], total[row], sinks, t.head(row));
    } else {
      const long long part = target * a.n_split + blockIdx.z;
      if (column < d_v && total[row] > 0) partial.sums[part * d_v + column] = sum[row];
      if (column == 0) partial.state[part] = make_float2(top[row], total[row]);
    }
  }
}
