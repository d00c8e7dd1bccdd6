// flash_attn_ext_mma: attention (graph.py: flash_attn_ext) on tensor cores, for one token and for many
// q (n_tok, n_head, d_k) f32 with even strides; k, v paged caches, f16 with a row stride (DECODE false), or f16, q8_0 or
// q4_0 rows without gaps (DECODE true); out (n_tok, n_head, d_v) f32
// grid = (tiles, n_head_kv, n_split), block = 32 ROW_WARPS KEY_WARPS DIM_WARPS, rows_per_tile <= 16 ROW_WARPS
// page_size is a multiple of KEYS; shared memory: `Layout`, n_stage (1 or 2) tiles of K and V
//
// A block keeps its query rows and takes tile after tile of KEYS keys; the next tile is copied meanwhile. A warp has 16
// rows; where they are few, the warps share them: each takes some of the keys (KEY_WARPS, merged at the end) or, for
// wide values, some of the columns (DIM_WARPS). q is split into two f16, so scores are as exact as in f32; weights,
// and K and V that were decoded, are rounded to f16. Sums are f32.
// memory-bound at one token, tensor-bound at many
#include "flash_attn.cuh"
#include "flash_attn_tiles.cuh"

template <int D_K_, int D_V_, int ROW_WARPS_, int KEY_WARPS_, int DIM_WARPS_, int KEYS_> struct Shape {
  static constexpr int D_K = D_K_, D_V = D_V_, ROW_WARPS = ROW_WARPS_, KEY_WARPS = KEY_WARPS_, DIM_WARPS = DIM_WARPS_;
  static constexpr int KEYS = KEYS_, ROWS = 16 * ROW_WARPS, THREADS = 32 * ROW_WARPS * KEY_WARPS * DIM_WARPS;
  static constexpr int PITCH_K = D_K + PITCH_PAD, PITCH_V = D_V + PITCH_PAD;
  static constexpr int WARP_KEYS = KEYS / KEY_WARPS, WARP_DIMS = D_V / DIM_WARPS;
  static constexpr bool HIGH_IN_REGISTERS = D_K <= 128;
  static constexpr int SHARED_PARTS = HIGH_IN_REGISTERS ? 1 : 2;
  static constexpr int LEAST_SHARED = 2 * (KEYS * (PITCH_K + PITCH_V) + ROWS * D_K * SHARED_PARTS);  // bytes
  static_assert(D_K % 16 == 0 && WARP_DIMS % 16 == 0 && WARP_KEYS % 16 == 0, "fragments of 16");
  static_assert(KEY_WARPS == 1 || (ROW_WARPS == 1 && DIM_WARPS == 1), "only warps of the same rows are merged");
};

// The query rows of a warp as two f16 each, high and low, as fragments: the high ones in registers where they fit, all
// others in shared memory, where the warps of the same rows share them.
template <class S> struct Query {
  unsigned high_part[S::HIGH_IN_REGISTERS ? S::D_K / 16 : 1][4];
  uint4* shared_part;  // this lane's: low and, where they don't fit, high behind it, 32 lanes a fragment

  // A barrier must follow.
  __device__ __forceinline__ Query(const float* q, const Attention& a, const Tile& t, uint4* shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, rows = warp % S::ROW_WARPS, share = warp / S::ROW_WARPS;
    const float scale = query_scale(a);
    shared_part = shared + rows * S::D_K / 16 * S::SHARED_PARTS * 32 + lane;
    const float* source[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = rows * 16 + lane / 4 + 8 * i;
      source[i] = row < t.n ? q + t.token(row) * a.q_stride_tok + t.head(row) * a.q_stride_head + lane % 4 * 2 : nullptr;
    }
#pragma unroll(S::HIGH_IN_REGISTERS ? S::D_K / 16 : 2)
    for (int k = 0; k < S::D_K / 16; k++) {
      const bool mine = k % (S::KEY_WARPS * S::DIM_WARPS) == share;
      if (!S::HIGH_IN_REGISTERS && !mine) continue;
      unsigned high[4], low[4];
#pragma unroll
      for (int r = 0; r < 4; r++) {  // rows 0-7, 8-15 of columns 0-7, then of columns 8-15
        const float2 x = source[r % 2] ? *(const float2*)(source[r % 2] + k * 16 + r / 2 * 8) : make_float2(0, 0);
        split_half(x.x * scale, x.y * scale, high[r], low[r]);
        if (S::HIGH_IN_REGISTERS) high_part[S::HIGH_IN_REGISTERS ? k : 0][r] = high[r];
      }
      if (mine) shared_part[k * S::SHARED_PARTS * 32] = make_uint4(low[0], low[1], low[2], low[3]);
      if (!S::HIGH_IN_REGISTERS) shared_part[(k * 2 + 1) * 32] = make_uint4(high[0], high[1], high[2], high[3]);
    }
  }

  __device__ __forceinline__ void fragment(int k, unsigned (&high)[4], unsigned (&low)[4]) const {
    const uint4 l = shared_part[k * S::SHARED_PARTS * 32];
    low[0] = l.x, low[1] = l.y, low[2] = l.z, low[3] = l.w;
    if (S::HIGH_IN_REGISTERS) {
#pragma unroll
      for (int r = 0; r < 4; r++) high[r] = high_part[S::HIGH_IN_REGISTERS ? k : 0][r];
    } else {
      const uint4 h = shared_part[(k * 2 + 1) * 32];
      high[0] = h.x, high[1] = h.y, high[2] = h.z, high[3] = h.w;
    }
  }
};

// Scores of a warp's 16 rows with its keys; score[n] is the fragment of keys 8 n ... 8 n + 7.
template <class S>
__device__ __forceinline__ void multiply_keys(float (&score)[S::WARP_KEYS / 8][4], const Query<S>& query, const __half* keys) {
  const int lane = threadIdx.x % 32;
  keys += (lane % 8 + lane / 16 * 8) * S::PITCH_K + lane / 8 % 2 * 8;
#pragma unroll
  for (int n = 0; n < S::WARP_KEYS / 8; n++) score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0;
#pragma unroll(S::HIGH_IN_REGISTERS ? S::D_K / 16 : 2)
  for (int k = 0; k < S::D_K / 16; k++) {
    unsigned high[4], low[4];
    query.fragment(k, high, low);
#pragma unroll
    for (int n = 0; n < S::WARP_KEYS / 8; n += 2) {
      unsigned b[4];
      ldmatrix_x4(b, keys + n * 8 * S::PITCH_K + k * 16);
      const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
      mma_m16n8k16_f16(score[n], high, left);
      mma_m16n8k16_f16(score[n + 1], high, right);
      mma_m16n8k16_f16(score[n], low, left);
      mma_m16n8k16_f16(score[n + 1], low, right);
    }
  }
}

// The rows' softmax so far: largest score (log2 units), sum of weights (this lane's part), sums of weighted values.
template <class S> struct Softmax {
  float m[2], l[2], sum[S::WARP_DIMS / 8][4];

  __device__ __forceinline__ Softmax() : m{negative_infinity(), negative_infinity()}, l{0, 0}, sum{} {}

  // Scores become weights.
  __device__ __forceinline__ void take(float (&score)[S::WARP_KEYS / 8][4]) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float top = m[i];
#pragma unroll
      for (int n = 0; n < S::WARP_KEYS / 8; n++) top = fmaxf(top, fmaxf(score[n][2 * i], score[n][2 * i + 1]));
      top = warp_max<4>(top);
      const float base = top == negative_infinity() ? 0 : top, shrink = exp2f(m[i] - base);
      m[i] = top;
      float total = 0;
#pragma unroll
      for (int n = 0; n < S::WARP_KEYS / 8; n++)
#pragma unroll
        for (int j = 2 * i; j < 2 * i + 2; j++) total += score[n][j] = exp2f(score[n][j] - base);
      l[i] = l[i] * shrink + total;
#pragma unroll
      for (int n = 0; n < S::WARP_DIMS / 8; n++) sum[n][2 * i] *= shrink, sum[n][2 * i + 1] *= shrink;
    }
  }

  __device__ __forceinline__ void add(const float (&weight)[S::WARP_KEYS / 8][4], const __half* values) {
    const int lane = threadIdx.x % 32;
    values += lane % 16 * S::PITCH_V + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < S::WARP_KEYS / 16; k++) {
      unsigned w[4];
#pragma unroll
      for (int r = 0; r < 4; r++) {
        const float* pair = weight[2 * k + r / 2] + r % 2 * 2;
        w[r] = as_bits(__floats2half2_rn(pair[0], pair[1]));
      }
#pragma unroll
      for (int n = 0; n < S::WARP_DIMS / 8; n += 2) {
        unsigned b[4];
        ldmatrix_x4_trans(b, values + k * 16 * S::PITCH_V + n * 8);
        const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
        mma_m16n8k16_f16(sum[n], w, left);
        mma_m16n8k16_f16(sum[n + 1], w, right);
      }
    }
  }
};

// Every warp has all keys of its rows.
template <class S>
__device__ __forceinline__ void write_rows(const Softmax<S>& softmax, const Output& output, const Attention& a, const Tile& t) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, dims = warp / S::ROW_WARPS;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float l = warp_sum<4>(softmax.l[i]);
    const int row = warp % S::ROW_WARPS * 16 + lane / 4 + 8 * i;
    if (row >= t.n) continue;
    const float factor = output.factor(a, t, row, softmax.m[i], l, lane % 4 == 0 && dims == 0);
    if (factor < 0) continue;
    float* target = output.sums_of(a, t, row, S::D_V) + dims * S::WARP_DIMS + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < S::WARP_DIMS / 8; n++)
      *(float2*)(target + n * 8) = make_float2(softmax.sum[n][2 * i] * factor, softmax.sum[n][2 * i + 1] * factor);
  }
}

// The warps have different keys of the same 16 rows: `merged` holds (KEY_WARPS, 16, D_V) floats.
template <class S>
__device__ __forceinline__ void merge_rows(const Softmax<S>& softmax, const Output& output, const Attention& a, const Tile& t, float* merged) {
  __shared__ float2 state[S::KEY_WARPS][16];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float l = warp_sum<4>(softmax.l[i]);
    if (lane % 4 == 0) state[warp][lane / 4 + 8 * i] = make_float2(softmax.m[i], l);
  }
  __syncthreads();  // also: all warps are done with the tiles, which `merged` overwrites
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int row = lane / 4 + 8 * i;
    float m = negative_infinity(), l = 0;
#pragma unroll
    for (int w = 0; w < S::KEY_WARPS; w++) m = fmaxf(m, state[w][row].x);
    const float base = m == negative_infinity() ? 0 : m, weight = exp2f(softmax.m[i] - base);
#pragma unroll
    for (int w = 0; w < S::KEY_WARPS; w++) l += exp2f(state[w][row].x - base) * state[w][row].y;
    float* target = merged + (warp * 16 + row) * S::D_V + lane % 4 * 2;
    const float factor = row < t.n ? output.factor(a, t, row, m, l, lane % 4 == 0 && warp == 0) : 0;
#pragma unroll
    for (int n = 0; n < S::D_V / 8; n++)
      *(float2*)(target + n * 8) = make_float2(softmax.sum[n][2 * i] * weight * factor, softmax.sum[n][2 * i + 1] * weight * factor);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < t.n * (S::D_V / 4); i += S::THREADS) {
    const int row = i / (S::D_V / 4), column = i % (S::D_V / 4) * 4;
    float4 x = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < S::KEY_WARPS; w++) {
      const float4 y = *(const float4*)(merged + (w * 16 + row) * S::D_V + column);
      x.x += y.x, x.y += y.y, x.z += y.z, x.w += y.w;
    }
    *(float4*)(output.sums_of(a, t, row, S::D_V) + column) = x;
  }
}

template <bool DECODE, class S>
__global__ void __launch_bounds__(S::THREADS, 2) flash_attn_ext_mma(
    const float* __restrict__ q, const unsigned char* __restrict__ k, const unsigned char* __restrict__ v,
    const int* __restrict__ positions, const int* __restrict__ seq_ids, const int* __restrict__ block_table,
    const float* __restrict__ sinks, float* __restrict__ out, float* __restrict__ workspace, Attention a, int type_k,
    int type_v, int n_stage) {
#if __CUDA_ARCH__ < 800
  if constexpr (S::LEAST_SHARED > 64 * 1024) return;  // never launched on such a device
#endif
  pdl_trigger();  // the merge may come to wait
  pdl_wait();
  constexpr int TILE_K = S::KEYS * S::PITCH_K * 2, TILE_V = S::KEYS * S::PITCH_V * 2;  // bytes
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ Rows<S::ROWS> rows;
  const int raw_k = DECODE ? S::KEYS * (int)a.k_row_bytes : TILE_K, raw_v = DECODE ? S::KEYS * (int)a.v_row_bytes : TILE_V;
  unsigned char* decoded = shared + n_stage * (raw_k + raw_v);
  const Tile t = begin_tile(a, gridDim.x - 1 - blockIdx.x, blockIdx.y, positions, seq_ids, rows);
  const Query<S> query(q, a, t, (uint4*)(decoded + (DECODE ? TILE_K + TILE_V : 0)));
  __syncthreads();

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row0 = warp % S::ROW_WARPS * 16 + lane / 4;
  const int warp_key = S::KEY_WARPS > 1 ? warp * S::WARP_KEYS : 0, warp_dim = warp / S::ROW_WARPS % S::DIM_WARPS * S::WARP_DIMS;
  Softmax<S> softmax;
  for (int first = 0; first < t.n;) {
    const Segment s = segment_at(a, t, positions, seq_ids, rows, first);
    const KeyTiles tiles = key_tiles(a, s, S::KEYS);
    const bool row_is_in[2] = {row0 >= first && row0 < s.end_row, row0 + 8 >= first && row0 + 8 < s.end_row};
    const int seen[2] = {row_is_in[0] ? rows.last[row0] : -1, row_is_in[1] ? rows.last[row0 + 8] : -1};
    const int highest = warp_max(max(seen[0], seen[1]));
    // Keys that every row sees: open_begin <= key < open_end.
    const bool alone = first == 0 && s.end_row >= t.n;
    const int open_end = alone ? min(s.lowest + 1, s.end) : 0, open_begin = first_key(a, s.highest);
    auto copy_tile = [&](int tile) {
      if (tile < tiles.end) {
        const int key0 = tile * S::KEYS;
        const long long row = key_row(a, block_table, s.sequence, t.head_kv, key0);
        unsigned char* target = shared + (tile - tiles.first) % n_stage * (raw_k + raw_v);
        const unsigned char *from_k = k + row * a.k_row_bytes, *from_v = v + row * a.v_row_bytes;
        if (DECODE) {
          copy_bytes<S::THREADS>(target, from_k, raw_k);
          copy_bytes<S::THREADS>(target + raw_k, from_v, raw_v);
        } else {
          copy_rows<S::D_K, S::KEYS, S::THREADS>((__half*)target, from_k, a.k_row_bytes, s.begin - key0, s.end - key0);
          copy_rows<S::D_V, S::KEYS, S::THREADS>((__half*)(target + raw_k), from_v, a.v_row_bytes, s.begin - key0, s.end - key0);
        }
      }
      copy_async_commit();
    };
    if (n_stage == 2) copy_tile(tiles.first);
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      const int key0 = tile * S::KEYS;
      if (n_stage == 1) {
        __syncthreads();  // all warps are done with the tile before
        copy_tile(tile);
      }
      copy_async_wait<0>();
      __syncthreads();
      if (n_stage == 2) copy_tile(tile + 1);
      const unsigned char* stage = shared + (tile - tiles.first) % n_stage * (raw_k + raw_v);
      const __half *keys = (const __half*)stage, *values = (const __half*)(stage + raw_k);
      if (DECODE) {
        __half *keys_decoded = (__half*)decoded, *values_decoded = (__half*)(decoded + TILE_K);
        decode_rows<S::D_K, S::KEYS, S::THREADS>(keys_decoded, stage, type_k, a.k_row_bytes, s.begin - key0, s.end - key0);
        decode_rows<S::D_V, S::KEYS, S::THREADS>(values_decoded, stage + raw_k, type_v, a.v_row_bytes, s.begin - key0, s.end - key0);
        __syncthreads();
        keys = keys_decoded, values = values_decoded;
      }
      const int key = key0 + warp_key;
      if (key > highest) continue;  // hidden from all rows of this warp
      float score[S::WARP_KEYS / 8][4];
      multiply_keys<S>(score, query, keys + warp_key * S::PITCH_K);
      if (a.softcap > 0) {
#pragma unroll
        for (int n = 0; n < S::WARP_KEYS / 8; n++)
#pragma unroll
          for (int j = 0; j < 4; j++) score[n][j] = cap_score(a, score[n][j]);
      }
      if (a.max_bias > 0) {
#pragma unroll
        for (int n = 0; n < S::WARP_KEYS / 8; n++)
#pragma unroll
          for (int j = 0; j < 4; j++)
            score[n][j] -= alibi(a, rows.slope[row0 + j / 2 * 8], seen[j / 2], key + n * 8 + lane % 4 * 2 + j % 2);
      }
      if (key + S::WARP_KEYS > open_end || key0 < open_begin) {
#pragma unroll
        for (int n = 0; n < S::WARP_KEYS / 8; n++)
#pragma unroll
          for (int j = 0; j < 4; j++)
            if (!sees(a, s, seen[j / 2], key + n * 8 + lane % 4 * 2 + j % 2)) score[n][j] = negative_infinity();
      }
      softmax.take(score);
      softmax.add(score, values + warp_key * S::PITCH_V + warp_dim);
    }
    copy_async_wait<0>();
    __syncthreads();  // the next segment's tiles overwrite these
    first = s.end_row;
  }

  const Output output = {out, Partial(workspace, a), sinks};
  if constexpr (S::KEY_WARPS > 1)
    merge_rows<S>(softmax, output, a, t, (float*)shared);
  else
    write_rows<S>(softmax, output, a, t);
}
