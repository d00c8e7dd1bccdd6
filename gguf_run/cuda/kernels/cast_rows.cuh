// cast_rows.cuh: rows that a kernel computes, written as products on tensor cores take them (Graph.cast): numbers x / s as f16,
// s the power of two that brings the largest |x| of the row to 2^14 ... 2^15, which stands behind all rows as f32.
//
// A block of `blockDim.x` threads, whole warps, has a row. A thread computes 16 columns at a time, c ... c + 3 of each of the
// four chunks of 32 in 128 columns: so it reads float4s, and writes whole pieces of F16_TILES. HELD times 16 numbers stay in
// registers; what a row has more of is computed twice. n_col % 32 == 0, of F16_TILES % 128 == 0.
#pragma once
#include "rows.cuh"
#include "tiles.cuh"

enum Form { SCALED, TILES };  // F16_SCALED, F16_TILES

struct Sixteen {
  float v[4][4];
};

// The numbers of columns c + 32 j + k, times `factor` exactly (a power of two), of row `row` of n_row.
template <Form FORM> __device__ __forceinline__ void store_sixteen(half* y, int n_row, int n_col, int row, int c, const Sixteen& x, float factor) {
  half2 even[4], odd[4];  // columns c, c + 2 and c + 1, c + 3 of each chunk
#pragma unroll
  for (int j = 0; j < 4; j++) {
    even[j] = __floats2half2_rn(x.v[j][0] * factor, x.v[j][2] * factor);
    odd[j] = __floats2half2_rn(x.v[j][1] * factor, x.v[j][3] * factor);
  }
  if (FORM == TILES) {
    // Column 4 q of a chunk is the first of step s = 2 (q % 4) + q / 4.
    const int q = c % 32 / 4, p = c / 128 * 16 + 2 * (2 * (q % 4) + q / 4);
    *tile_piece(y, n_row, row, p) = *(const uint4*)even;
    *tile_piece(y, n_row, row, p + 1) = *(const uint4*)odd;
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
    if (c + 32 * j >= n_col) continue;
    half* const at = y + (size_t)row * n_col + c + 32 * j;
    const half2 in_order[2] = {__halves2half2(__low2half(even[j]), __low2half(odd[j])),
                               __halves2half2(__high2half(even[j]), __high2half(odd[j]))};
    *(uint2*)at = *(const uint2*)in_order;
  }
}

// One row. number(c) -> float4, columns c ... c + 3; then(block's sum of what `add` gathered) -> what all numbers are
// multiplied by, where `add` (a float of the thread) is summed over the block behind the first computation.
// plain: the row as f32, too, or null.
template <Form FORM, int HELD, class Number, class Then>
__device__ __forceinline__ void cast_row(half* y, float* plain, int n_row, int n_col, int row, const float& add, Number number, Then then) {
  __shared__ float tops[32], sums[32];
  const int tid = threadIdx.x, lane = tid % 32, n_warp = blockDim.x / 32, n_unit = (n_col + 127) / 128 * 8;
  const auto column = [](int unit) { return unit / 8 * 128 + unit % 8 * 4; };
  float top = 0;
  const auto compute = [&](int unit, Sixteen& x) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int c = column(unit) + 32 * j;
      const float4 v = unit < n_unit && c < n_col ? number(c) : make_float4(0, 0, 0, 0);
      x.v[j][0] = v.x, x.v[j][1] = v.y, x.v[j][2] = v.z, x.v[j][3] = v.w;
#pragma unroll
      for (int k = 0; k < 4; k++) top = fmaxf(top, fabsf(x.v[j][k]));
    }
  };
  Sixteen held[HELD];
#pragma unroll
  for (int i = 0; i < HELD; i++) compute(tid + i * blockDim.x, held[i]);
  for (int unit = tid + HELD * blockDim.x; unit < n_unit; unit += blockDim.x) {
    Sixteen x;
    compute(unit, x);
  }

  top = warp_max(top);
  float sum = warp_sum(add);
  if (lane == 0) tops[tid / 32] = top, sums[tid / 32] = sum;
  __syncthreads();
  const float factor = then(warp_sum(lane < n_warp ? sums[lane] : 0.0f));
  const RowFactor scale(warp_max(lane < n_warp ? tops[lane] : 0.0f) * fabsf(factor));
  const auto store = [&](int unit, Sixteen& x) {
    if (unit >= n_unit) return;
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int k = 0; k < 4; k++) x.v[j][k] *= factor;
    store_sixteen<FORM>(y, n_row, n_col, row, column(unit), x, scale.inverse());
    if (!plain) return;
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (const int c = column(unit) + 32 * j; c < n_col)
        *(float4*)(plain + (size_t)row * n_col + c) = make_float4(x.v[j][0], x.v[j][1], x.v[j][2], x.v[j][3]);
  };
#pragma unroll
  for (int i = 0; i < HELD; i++) store(tid + i * blockDim.x, held[i]);
  for (int unit = tid + HELD * blockDim.x; unit < n_unit; unit += blockDim.x) {
    Sixteen x;
    compute(unit, x);
    store(unit, x);
  }
  if (tid == 0) tile_factors(y, n_row, n_col)[row] = scale.value();
}
