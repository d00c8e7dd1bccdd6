// cache_types.cuh: the types of KV caches, as ggml stores them, and how one warp writes 32 elements of a row.
//
// A row of n elements has n / SIZE blocks of BYTES bytes. Blocks are only 2-byte aligned.
//   CacheF32, CacheF16   numbers
//   CacheQ8_0            d f16, then 32 int8 q: x = d q, d = max|x| / 127
//   CacheQ4_0            d f16, then 16 bytes: element i in the low, i + 16 in the high nibble: x = d (q - 8),
//                        d = -(the element of largest magnitude) / 8
// Quantising rounds as gguf.quants does, byte for byte (no contraction to FMA).
#pragma once
#include <cuda_fp16.h>
#include "ptx.cuh"

__device__ __forceinline__ float half_at(const unsigned char* p) { return __half2float(*(const __half*)p); }

struct CacheF32 {
  static constexpr int SIZE = 1, BYTES = 4;
  __device__ static float get(const unsigned char* row, int i) { return ((const float*)row)[i]; }
  __device__ static void put(unsigned char* row, int i, int n, float x) {
    if (i < n) ((float*)row)[i] = x;
  }
};

struct CacheF16 {
  static constexpr int SIZE = 1, BYTES = 2;
  __device__ static float get(const unsigned char* row, int i) { return __half2float(((const __half*)row)[i]); }
  __device__ static void put(unsigned char* row, int i, int n, float x) {
    if (i < n) ((__half*)row)[i] = __float2half_rn(x);
  }
};

struct CacheQ8_0 {
  static constexpr int SIZE = 32, BYTES = 34;
  __device__ static float get(const unsigned char* row, int i) {
    const unsigned char* block = row + i / 32 * BYTES;
    return half_at(block) * (signed char)block[2 + i % 32];
  }
  // Lane l of a warp holds element i = 32 b + l of the row; n is a multiple of 32.
  __device__ static void put(unsigned char* row, int i, int n, float x) {
    const float d = warp_max(fabsf(x)) / 127.0f;
    const float inverse = d == 0 ? 0 : 1.0f / d;
    unsigned char* block = row + i / 32 * BYTES;
    block[2 + i % 32] = (unsigned char)(int)roundf(__fmul_rn(x, inverse));
    if (i % 32 == 0) *(__half*)block = __float2half_rn(d);
  }
};

struct CacheQ4_0 {
  static constexpr int SIZE = 32, BYTES = 18;
  __device__ static float get(const unsigned char* row, int i) {
    const unsigned char* block = row + i / 32 * BYTES;
    return half_at(block) * ((block[2 + i % 16] >> i % 32 / 16 * 4 & 15) - 8);
  }
  __device__ static void put(unsigned char* row, int i, int n, float x) {
    const float top = warp_max(fabsf(x));
    const unsigned holders = __ballot_sync(~0u, fabsf(x) == top);
    const float d = __shfl_sync(~0u, x, holders ? __ffs(holders) - 1 : 0) / -8.0f;
    const float inverse = d == 0 ? 0 : 1.0f / d;
    const int q = min(15, max(0, (int)__fadd_rn(__fmul_rn(x, inverse), 8.5f)));
    const int high = __shfl_down_sync(~0u, q, 16);
    unsigned char* block = row + i / 32 * BYTES;
    if (i % 32 < 16) block[2 + i % 32] = (unsigned char)(q | high << 4);
    if (i % 32 == 0) *(__half*)block = __float2half_rn(d);
  }
};

// Where a slot's row of a head lies in a paged cache (n_page, n_head, page_size, n_col), in rows.
__device__ __forceinline__ long long cache_row(int slot, int head, int n_head, int page_size) {
  return ((long long)(slot / page_size) * n_head + head) * page_size + slot % page_size;
}
