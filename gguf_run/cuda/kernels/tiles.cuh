// tiles.cuh: the order of F16_TILES (gguf_run/tiles.py), activations as wgmma reads them: [block of 64 columns][row][64 f16],
// then a factor f32 of each row.
#pragma once
#include <cuda_fp16.h>
#include "ptx.cuh"

// A piece is 16 bytes, eight numbers of a row: eight pieces a block. Number i of piece p is that of this column.
__device__ __forceinline__ int tile_column(int p, int i) {
  const int step = p % 16 / 2;
  return p / 16 * 128 + 32 * (i / 2) + 16 * (step % 2) + 4 * (step / 2) + 2 * (i % 2) + p % 2;
}
// Where piece p of a row stands.
__device__ __forceinline__ uint4* tile_piece(void* tiles, int n_row, int row, int p) {
  return (uint4*)tiles + ((size_t)(p / 8) * n_row + row) * 8 + (p % 8 ^ row % 8);
}
// Where the factors of the rows stand.
__device__ __forceinline__ float* tile_factors(void* tiles, int n_row, int n_col) {
  return (float*)((half*)tiles + (size_t)n_row * n_col);
}

// The power of two that brings `top`, the largest |x| of a row, to 2^14 ... 2^15, as its exponent's bits; infinity, zero and
// what is too small for the inverse to be finite stay within 2^-112 ... 2^113.
struct RowFactor {
  int exponent;
  __device__ __forceinline__ explicit RowFactor(float top) : exponent(max(30, min(254, (int)(__float_as_uint(top) >> 23))) - 14) {}
  __device__ __forceinline__ float value() const { return __uint_as_float((unsigned)exponent << 23); }
  __device__ __forceinline__ float inverse() const { return __uint_as_float((unsigned)(254 - exponent) << 23); }
};
