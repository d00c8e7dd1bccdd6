// cast_rows.cuh: rows that a kernel computes, written as products on tensor cores take them (Graph.cast): numbers x / s as f16,
// s the power of two that brings the largest |x| of the row to 2^14 ... 2^15, which stands behind all rows as f32.
//
// A block of up to 512 threads, whole warps, has a row. dynamic shared memory: the row as f32: it is computed four neighbours
// at a time, as it is read, and written in pieces of eight numbers, in their order. n_col % 32 == 0, of F16_TILES % 128 == 0.
#pragma once
#include "rows.cuh"
#include "tiles.cuh"

enum Form { SCALED, TILES };  // F16_SCALED, F16_TILES

// One row. number(c) -> float4, columns c ... c + 3; then(sum over the block of `add`, a float of the thread, behind that) ->
// what all numbers are multiplied by. plain: the row as f32, too, or null.
template <Form FORM, class Number, class Then>
__device__ __forceinline__ void cast_row(half* y, float* plain, int n_row, int n_col, int row, const float& add, Number number, Then then) {
  extern __shared__ __align__(16) float numbers[];
  __shared__ float tops[16], sums[16];
  const int tid = threadIdx.x, lane = tid % 32, n_warp = blockDim.x / 32;
  float top = 0;
#pragma unroll 4
  for (int c = 4 * tid; c < n_col; c += 4 * blockDim.x) {
    const float4 v = number(c);
    top = fmaxf(fmaxf(fmaxf(top, fabsf(v.x)), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    *(float4*)(numbers + c) = v;
  }
  top = warp_max(top);
  const float sum = warp_sum(add);
  if (lane == 0) tops[tid / 32] = top, sums[tid / 32] = sum;
  __syncthreads();
  const float factor = then(warp_sum(lane < n_warp ? sums[lane] : 0.0f));
  const RowFactor scale(warp_max(lane < n_warp ? tops[lane] : 0.0f) * fabsf(factor));
  const float inverse = scale.inverse();
  for (int p = tid; p < n_col / 8; p += blockDim.x) {
    half2 piece[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int a = FORM == TILES ? tile_column(p, 2 * i) : 8 * p + 2 * i, b = FORM == TILES ? tile_column(p, 2 * i + 1) : a + 1;
      piece[i] = __floats2half2_rn(numbers[a] * factor * inverse, numbers[b] * factor * inverse);
    }
    uint4* const at = FORM == TILES ? tile_piece(y, n_row, row, p) : (uint4*)(y + (size_t)row * n_col) + p;
    *at = *(const uint4*)piece;
  }
  if (tid == 0) tile_factors(y, n_row, n_col)[row] = scale.value();
  if (!plain) return;
  for (int c = tid; c < n_col; c += blockDim.x) plain[(size_t)row * n_col + c] = numbers[c] * factor;
}
