// mul_mat_wgmma_gated.cuh: gated units of two products on wgmma, written as F16_TILES: a tile of 64 of their columns by BN rows in
// shared memory, a block of tiles.cuh in its order.
//
// A row's largest number isn't known where its tiles are written, so that all factors are FACTOR: numbers beyond 10^6 are cut,
// those from 10^-3 on are as exact as with a factor of their row.
#pragma once
#include "mul_mat_wgmma.cuh"
#include "tiles.cuh"

constexpr float FACTOR = 16, LARGEST = 65504;

__device__ __forceinline__ float over_factor(float x) {
  x *= 1 / FACTOR;
  return fabsf(x) > LARGEST ? copysignf(LARGEST, x) : x;
}

// A warp has one piece of all rows, a lane one number of it (`tile_column`) of each eight rows' two; of two lanes with neighbouring
// numbers one writes both for the first of their rows, the other for the second. v: the lane's numbers, by FACTOR already, of the
// eight rows from `first` on; the whole warp calls it.
__device__ __forceinline__ void stage_gated(uint8_t* staged, int warp, int lane, int first, const float (&v)[2]) {
  const int g = lane / 4, t = first + lane % 4 * 2 + g % 2;
  const float theirs = __shfl_xor_sync(~0u, g % 2 ? v[0] : v[1], 4);
  *(__half2*)(staged + t * BLOCK_BYTES + (warp ^ t % 8) * 16 + g / 2 * 4) = g % 2 ? __floats2half2_rn(theirs, v[1]) : __floats2half2_rn(v[0], theirs);
}
