// flash_attn_ext_f32_vec: attention (graph.py: flash_attn_ext) in f32 throughout, for caches of any type and heads of
// any size: what the tensor-core kernel can't do, or not exactly (f32 caches)
// q (n_tok, n_head, d_k) f32 with strides; k, v paged caches with a row stride; out (n_tok, n_head, d_v) f32
// grid = (tiles, n_head_kv * ceil(d_v / (128 COLUMNS)), n_split), block = 128, rows_per_tile <= 16, n_key = 4, 8, 16 or 32
// shared memory: 16 d_k + n_key (pitch of a key + 20) floats
// K is decoded into shared memory. A warp has four rows: each lane multiplies them with four keys over a part of d_k, so
// that eight numbers from shared memory make sixteen products. Then a thread has COLUMNS columns of V.
// bound by shared memory and f32 arithmetic
#include "cache_types.cuh"
#include "flash_attn.cuh"

constexpr int ROWS = 16, THREADS = 128, WEIGHT_PITCH = ROWS + 4;

__device__ __forceinline__ float element(int type, const unsigned char* row, int i) {
  return type == F32 ? CacheF32::get(row, i) : type == F16 ? CacheF16::get(row, i)
       : type == Q8_0 ? CacheQ8_0::get(row, i) : CacheQ4_0::get(row, i);
}

// Four rows of q times four keys, `step` keys apart, over the elements first, first + n_slice ... of d_k.
__device__ __forceinline__ void multiply(
    float (&score)[4][4], const float* query, const float* key, int d_k, int pitch, int step, int first, int n_slice) {
#pragma unroll
  for (int i = 0; i < 16; i++) score[i / 4][i % 4] = 0;
  for (int d = first; d < d_k; d += n_slice) {
    float x[4];
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] = key[j * step * pitch + d];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float y = query[i * d_k + d];
#pragma unroll
      for (int j = 0; j < 4; j++) score[i][j] += y * x[j];
    }
  }
}

template <int COLUMNS>
__global__ void __launch_bounds__(THREADS, COLUMNS == 1 ? 4 : 3) flash_attn_ext_f32_vec(
    const float* __restrict__ q, const unsigned char* __restrict__ k, const unsigned char* __restrict__ v,
    const int* __restrict__ positions, const int* __restrict__ seq_ids, const int* __restrict__ block_table,
    const float* __restrict__ sinks, float* __restrict__ out, float* __restrict__ workspace, Attention a, int type_k,
    int type_v, int d_k, int d_v, int n_key, int pitch) {
  pdl_trigger();  // the merge may come to wait
  extern __shared__ __align__(16) float shared[];
  __shared__ Rows<ROWS> rows;
  __shared__ float top[ROWS], total[ROWS], shrink[ROWS];
  float *query = shared, *weight = query + ROWS * d_k, *keys = weight + n_key * WEIGHT_PITCH;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row0 = warp * 4;
  const int n_slice = THREADS / n_key, slice = lane % n_slice, key_step = n_key / 4;
  const int column = blockIdx.y / a.n_head_kv * THREADS * COLUMNS + threadIdx.x;
  const Tile t = begin_tile(a, gridDim.x - 1 - blockIdx.x, blockIdx.y % a.n_head_kv, positions, seq_ids, rows);
  const float scale = query_scale(a);
  for (int row = warp; row < ROWS; row += THREADS / 32) {
    const float* source = q + t.token(row) * a.q_stride_tok + t.head(row) * a.q_stride_head;
    for (int i = lane; i < d_k; i += 32) query[row * d_k + i] = row < t.n ? source[i] * scale : 0;
  }
  if (threadIdx.x < ROWS) top[threadIdx.x] = negative_infinity(), total[threadIdx.x] = 0;
  float sum[ROWS][COLUMNS] = {};
  __syncthreads();

  for (int first = 0; first < t.n;) {
    const Segment s = segment_at(a, t, positions, seq_ids, rows, first);
    const KeyTiles tiles = key_tiles(a, s, n_key);
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      const int key0 = tile * n_key, begin = max(0, s.begin - key0), end = min(n_key, s.end - key0);
      const long long cached0 = key_row(a, block_table, s.sequence, t.head_kv, key0);
      for (int key = begin + warp; key < end; key += THREADS / 32) {
        const unsigned char* source = k + (cached0 + key) * a.k_row_bytes;
#pragma unroll 4
        for (int i = lane; i < d_k; i += 32) keys[key * pitch + i] = element(type_k, source, i);
      }
      __syncthreads();
      if (row0 < t.n) {
        float score[4][4];
        const int mine = lane / n_slice;
        multiply(score, query + row0 * d_k, keys + mine * pitch, d_k, pitch, key_step, slice, n_slice);
        for (int step = 1; step < n_slice; step *= 2)
#pragma unroll
          for (int i = 0; i < 16; i++) score[i / 4][i % 4] += __shfl_xor_sync(~0u, score[i / 4][i % 4], step);
#pragma unroll
        for (int i = 0; i < 16; i++) {
          if (i % n_slice != slice) continue;
          const int row = row0 + i / 4, key = mine + i % 4 * key_step;
          float x = negative_infinity();  // keys that are not seen were not loaded: anything may stand there
          if (row >= first && row < s.end_row && sees(a, s, rows.last[row], key0 + key)) {
            x = cap_score(a, score[i / 4][i % 4]);
            if (a.max_bias > 0) x -= alibi(a, rows.slope[row], rows.last[row], key0 + key);
          }
          weight[key * WEIGHT_PITCH + row] = x;
        }
        __syncwarp();
      }
      for (int row = row0; row < row0 + 4; row++) {  // the softmax so far
        const bool any = row < t.n && lane < n_key;
        const float score = any ? weight[lane * WEIGHT_PITCH + row] : negative_infinity();
        const float m = fmaxf(top[row], warp_max(score)), base = m == negative_infinity() ? 0 : m;
        const float p = exp2f(score - base), l = warp_sum(p);
        if (lane < n_key) weight[lane * WEIGHT_PITCH + row] = p;
        __syncwarp();  // all lanes have read the row's state
        if (lane == 0) {
          shrink[row] = exp2f(top[row] - base);
          total[row] = total[row] * shrink[row] + l;
          top[row] = m;
        }
        __syncwarp();
      }
      __syncthreads();
#pragma unroll
      for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) sum[row][c] *= shrink[row];
      // Only keys that some row sees: others may never have been written.
      for (int key = begin; key < end; key++) {
        float x[COLUMNS];
        const unsigned char* source = v + (cached0 + key) * a.v_row_bytes;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) x[c] = column + c * THREADS < d_v ? element(type_v, source, column + c * THREADS) : 0;
#pragma unroll
        for (int row = 0; row < ROWS; row += 4) {
          const float4 w = *(const float4*)(weight + key * WEIGHT_PITCH + row);
#pragma unroll
          for (int c = 0; c < COLUMNS; c++)
            sum[row][c] += w.x * x[c], sum[row + 1][c] += w.y * x[c], sum[row + 2][c] += w.z * x[c], sum[row + 3][c] += w.w * x[c];
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
    const long long target = output_row(a, t, row), part = target * a.n_split + blockIdx.z;
    const float factor = a.n_split == 1 ? final_factor(top[row], total[row], sinks, t.head(row)) : total[row] > 0 ? 1 : -1;
    float* sums = a.n_split == 1 ? out + target * d_v : partial.sums + part * d_v;
    if (a.n_split > 1 && column == 0) partial.state[part] = make_float2(top[row], total[row]);
    if (factor < 0) continue;  // nobody reads the sums of a part without keys
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
      if (column + c * THREADS < d_v) sums[column + c * THREADS] = sum[row][c] * factor;
  }
}
