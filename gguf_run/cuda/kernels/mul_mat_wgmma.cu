// mul_mat_wgmma: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for many tokens, on wgmma (sm_90a), of up to three w with one x
// operands, block and bound: mul_mat_wgmma.cuh; x F16_TILES of n_tok rows, y (n_tok, n_out) f32; add f32 or null, its row
// stride 0 where all tokens get the same row
// grid = blocks that share all tiles of BM rows x BN tokens. `whole`: a block takes the tiles blockIdx.x, + gridDim.x ...
// Else all steps are shared evenly (at most one block a step); the sums of tiles that several blocks share go to `partial`,
// 2 * gridDim.x * BM * BN floats, which mul_mat_wgmma_sum adds up
// dynamic shared memory: STAGES * BN * 128 bytes
// compute-bound
#include "mul_mat_wgmma.cuh"

struct Product {
  const uint8_t* w;
  const float* add;
  float* y;
  int n_out, add_stride;
};
struct Products {  // passed by value; the wrapper packs it. Those that aren't there have n_out 0
  Product a, b, c;
};
// The product that a tile of rows belongs to, and its first row.
struct RowTile {
  Product p;
  int row0;
  __device__ __forceinline__ RowTile(const Products& all, int tile) {
    const int n_a = (all.a.n_out + BM - 1) / BM, n_b = (all.b.n_out + BM - 1) / BM;
    p = tile < n_a ? all.a : tile < n_a + n_b ? all.b : all.c;
    row0 = (tile - (tile < n_a ? 0 : tile < n_a + n_b ? n_a : n_a + n_b)) * BM;
  }
};

// The steps of all tiles one after another, shared evenly among blocks.
struct Shared {
  int total, n_block;
  __device__ __forceinline__ int begin_of(int block) const { return (int)((long long)total * block / n_block); }
  __device__ __forceinline__ int block_of(int step) const { return (int)(((step + 1ll) * n_block - 1) / total); }
};
// The sums of one of a block's pieces, for a thread: a block's first piece may end a tile, its last one begin another.
template <int BN> __device__ __forceinline__ float* piece_of(float* partial, int block, bool is_first, int thread) {
  return partial + (2 * (size_t)block + !is_first) * (BM * BN) + thread;
}

// y of 32 tokens from `tok0` on, of a thread that has their `sum`s of two rows (see Wgmma).
__device__ __forceinline__ void store_tokens(const RowTile& rows, const float* scales, int thread, int tok0, int n_tok, const float (&sum)[16]) {
  const float* const add = rows.p.add;
  const int row = rows.row0 + thread / 4 * 2, n_out = rows.p.n_out, add_stride = rows.p.add_stride, first = tok0 + thread % 4 * 2;
  const bool pairs = n_out % 2 == 0 && add_stride % 2 == 0 && (size_t)add % 8 == 0;
  float2 more[8];  // what is added: many loads at once
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const int t = first + n / 2 * 8 + n % 2;
    const float* const at = add + (size_t)t * add_stride + row;
    const bool is_added = add && t < n_tok && row < n_out;
    more[n] = !is_added ? make_float2(0, 0) : pairs ? *(const float2*)at : make_float2(at[0], row + 1 < n_out ? at[1] : 0);
  }
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const int t = first + n / 2 * 8 + n % 2, i = n / 2 * 4 + n % 2;
    if (t >= n_tok || row >= n_out) continue;
    const float scale = __ldg(scales + t);
    const float2 two = make_float2(sum[i] * scale + more[n].x, sum[i + 2] * scale + more[n].y);
    float* const at = rows.p.y + (size_t)t * n_out + row;
    if (pairs) {
      *(float2*)at = two;
    } else {
      at[0] = two.x;
      if (row + 1 < n_out) at[1] = two.y;
    }
  }
}

template <class Q, int BN, int STAGES>
__global__ void __launch_bounds__(MULTIPLY + COPY, 1)
mul_mat_wgmma(Products all, const uint8_t* __restrict__ x, float* partial, int n_tok, int n_row_tile, int n_chunk, int whole) {
  extern __shared__ __align__(1024) uint8_t stages[];
  __shared__ unsigned long long full[STAGES], empty[STAGES];
  const int tid = threadIdx.x, n_step = n_chunk / STEP_CHUNKS;
  const int n_tok_tile = (n_tok + BN - 1) / BN, total = n_row_tile * n_tok_tile * n_step;
  Ring<STAGES, STAGE_BYTES<BN>> ring = {stages, full, empty, 0, tid >= MULTIPLY};
  if (tid == 0) ring.init();
  __syncthreads();
  const Shared steps = {total, (int)gridDim.x};
  const int begin = whole ? blockIdx.x * n_step : steps.begin_of(blockIdx.x), end = whole ? total : steps.begin_of(blockIdx.x + 1);
  const auto tile_end = [&](int u) { return min(end, (u / n_step + 1) * n_step); };
  const auto next = [&](int u) { return whole ? u + (int)gridDim.x * n_step : tile_end(u); };

  if (tid >= MULTIPLY) {
    fewer_registers<24>();
    if (tid > MULTIPLY) return;
    for (int u = begin; u < end; u = next(u)) {
      const int tile = u / n_step, tok0 = tile % n_tok_tile * BN, first = tile * n_step;
      copy_tokens(ring, x, n_tok, tok0, min(BN, n_tok - tok0), u - first, tile_end(u) - first);
    }
    return;
  }
  more_registers<240>();
  const float* const scales = (const float*)(x + (size_t)n_tok * n_chunk * 64);
  Weights<Q, BN> weights;
  const auto begin_weights = [&](int u) {
    const int tile = u / n_step, first = tile * n_step, r = thread_anew() / 4 * 2;
    const RowTile rows(all, tile / n_tok_tile);
    const auto at = [&](int r) { return rows.p.w + (size_t)min(rows.row0 + r, rows.p.n_out - 1) * Q::row_bytes(n_chunk); };
    weights.begin(at(r), at(r + 1), n_chunk, u - first, tile_end(u) - first);
  };
  if (begin < end) begin_weights(begin);
  for (int u = begin; u < end; u = next(u)) {
    const int tile = u / n_step, tok0 = tile % n_tok_tile * BN;
    const int first = tile * n_step, k0 = u - first, k1 = tile_end(u) - first;
    float sum[BN / 2];
    multiply<Q, BN>(sum, ring, weights, k0, k1);
    if (next(u) < end) begin_weights(next(u));
    const int thread = thread_anew();
    if (k1 - k0 < n_step) {
      float* const piece = piece_of<BN>(partial, blockIdx.x, u == begin, thread);
#pragma unroll
      for (int i = 0; i < BN / 2; i++) __stcg(piece + i * MULTIPLY, sum[i]);
      continue;
    }
    const RowTile rows(all, tile / n_tok_tile);
#pragma unroll
    for (int i = 0; i < BN / 32; i++) {
      float some[16];
#pragma unroll
      for (int j = 0; j < 16; j++) some[j] = sum[16 * i + j];
      store_tokens(rows, scales, thread, tok0 + 32 * i, n_tok, some);
    }
  }
}

// mul_mat_wgmma_sum: the tiles that several of n_block blocks of mul_mat_wgmma share, from `partial`, in the order of blocks
// grid = (tiles, BN / 32), block = 256: a block 32 tokens of a tile
// memory-bound
template <int BN>
__global__ void __launch_bounds__(MULTIPLY)
mul_mat_wgmma_sum(Products all, const uint8_t* __restrict__ x, float* partial, int n_tok, int n_row_tile, int n_chunk, int n_block) {
  const int n_step = n_chunk / STEP_CHUNKS, n_tok_tile = (n_tok + BN - 1) / BN, first = blockIdx.x * n_step;
  const Shared steps = {n_row_tile * n_tok_tile * n_step, n_block};
  const int from = steps.block_of(first), to = steps.block_of(first + n_step - 1);
  if (from == to) return;
  float sum[16] = {};
  for (int block = from; block <= to; block++) {
    const float* const piece = piece_of<BN>(partial, block, steps.begin_of(block) >= first, threadIdx.x) + blockIdx.y * 16 * MULTIPLY;
#pragma unroll
    for (int i = 0; i < 16; i++) sum[i] += __ldcg(piece + i * MULTIPLY);
  }
  const float* const scales = (const float*)(x + (size_t)n_tok * n_chunk * 64);
  store_tokens(RowTile(all, blockIdx.x / n_tok_tile), scales, threadIdx.x, blockIdx.x % n_tok_tile * BN + blockIdx.y * 32, n_tok, sum);
}
