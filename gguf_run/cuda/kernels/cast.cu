// The forms in which products take activations (Graph.cast), from x (n_rows, n_col) f32 with strides (rows.cuh);
// n_col % 32 == 0.
#include <cuda_fp16.h>
#include "cast.cuh"
#include "rows.cuh"
#include "tiles.cuh"

// cast_blocks: blocks of 32 as numbers q = round(x / d): int8 with d = max |x| / 127, or FINE 256 * h + l with int8 numbers
// h and l, d = max |x| / 32512
// y: a row is n_col bytes q, or n_col bytes h and n_col bytes l, then a pair of f32 (d, d * sum of q) for each block
// grid = (n_rows, n_col / 32 over 8, rounded up), block = 256: a warp a block, a lane an element
// bound by latency: a few rows
template <bool FINE>
__global__ void __launch_bounds__(256)
cast_blocks(const float* __restrict__ x, uint8_t* __restrict__ y, int n_col, int n_inner, Strides of_x) {
  const int block = blockIdx.y * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (block >= n_col / 32) return;  // the whole warp
  const float v = x[row_start(blockIdx.x, n_inner, of_x) + block * 32 + lane];
  store_block<FINE>(y + (size_t)blockIdx.x * (n_col / 32 * (FINE ? 72 : 40)), n_col, block, v);
}

// cast_f16: h = x / s as f16, s the power of two that brings the largest |x| of the row to 2^14 ... 2^15; PAIR: and what
// rounding left, x / s - h, as f16
// y: n_rows rows h of n_col f16 (PAIR: then n_rows rows of the rest), then s of each of those rows as f32
// grid = n_rows, block = 256: one block a row
// memory-bound: reads x twice (the second time from L2), writes y once
template <bool PAIR>
__global__ void __launch_bounds__(256)
cast_f16(const float* __restrict__ x, half* __restrict__ y, int n_col, int n_inner, Strides of_x) {
  const float* row = x + row_start(blockIdx.x, n_inner, of_x);
  float top = 0;
  for (int i = threadIdx.x; i < n_col; i += 256) top = fmaxf(top, fabsf(row[i]));
  top = block_max<8>(top);
  const RowFactor factor(top);
  const float scale = factor.value(), inverse = factor.inverse();
  const size_t all = (size_t)gridDim.x * n_col;
  half* const h = y + (size_t)blockIdx.x * n_col;
  for (int i = threadIdx.x; i < n_col; i += 256) {
    const float v = row[i] * inverse;
    h[i] = __float2half(v);
    if (PAIR) h[all + i] = __float2half(v - __half2float(__float2half(v)));
  }
  if (threadIdx.x > 0) return;
  float* const scales = (float*)(y + (PAIR ? 2 : 1) * all);
  scales[blockIdx.x] = scale;
  if (PAIR) scales[gridDim.x + blockIdx.x] = scale;
}

// cast_tiles: as cast_f16 without PAIR, in the order of tiles.cuh; n_col % 128 == 0
// grid = n_rows, block = 256: one block a row, a thread eight numbers of 128 columns
// memory-bound: reads x twice (the second time from L2), writes y once
extern "C" __global__ void __launch_bounds__(256)
cast_tiles(const float* __restrict__ x, half* __restrict__ y, int n_col, int n_inner, Strides of_x) {
  const int row = blockIdx.x, n_row = gridDim.x;
  const float* const from = x + row_start(row, n_inner, of_x);
  float top = 0;
  for (int i = threadIdx.x; i < n_col; i += 256) top = fmaxf(top, fabsf(from[i]));
  const RowFactor factor(block_max<8>(top));
  const float inverse = factor.inverse();
  for (int p = threadIdx.x; p < n_col / 8; p += 256) {
    __half2 v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = __floats2half2_rn(from[tile_column(p, 2 * i)] * inverse, from[tile_column(p, 2 * i + 1)] * inverse);
    *tile_piece(y, n_row, row, p) = *(const uint4*)v;
  }
  if (threadIdx.x == 0) tile_factors(y, n_row, n_col)[row] = factor.value();
}
