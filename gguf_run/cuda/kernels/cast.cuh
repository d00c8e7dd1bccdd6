// cast.cuh: how 32 numbers become a block of Q8_1 or Q16_1 (Graph.cast).
#pragma once
#include "ptx.cuh"

// Block `block` of a row of n_col numbers, a number a lane; the whole warp calls it.
template <bool FINE> __device__ __forceinline__ void store_block(uint8_t* row, int n_col, int block, float v) {
  const int lane = threadIdx.x % 32;
  const float d = warp_max(fabsf(v)) / (FINE ? 32512.0f : 127.0f);
  const int q = __float2int_rn(v / (d > 0 ? d : 1.0f));
  const int sum = warp_sum(q);
  row[block * 32 + lane] = (uint8_t)(FINE ? (q + 128) >> 8 : q);
  if (FINE) row[n_col + block * 32 + lane] = (uint8_t)q;  // q - 256 * ((q + 128) >> 8) as int8
  if (lane == 0) *((float2*)(row + (FINE ? 2 : 1) * n_col) + block) = make_float2(d, d * sum);
}
