// flash_attn_tiles.cuh: tiles of K and V in shared memory, as f16 rows of D + 8 numbers (so that ldmatrix meets no
// bank conflict), copied asynchronously. Tiles of other types are copied as they are and then decoded.
#pragma once
#include "cache_types.cuh"
#include "flash_attn.cuh"
#include "ptx.cuh"

constexpr int PITCH_PAD = 8;

#if __CUDA_ARCH__ >= 800
constexpr int COPY_UNROLL = 4;
#else
constexpr int COPY_UNROLL = 1;  // copies pass through registers
#endif

// Rows of f16 straight into their places; rows outside [begin, end) become zeros and aren't read.
template <int D, int KEYS, int THREADS>
__device__ __forceinline__ void copy_rows(__half* tile, const unsigned char* source, long long row_bytes, int begin, int end) {
  constexpr int UNITS = D / 8;  // of 16 bytes
#pragma unroll COPY_UNROLL
  for (int i = threadIdx.x; i < KEYS * UNITS; i += THREADS) {
    const int row = i / UNITS, unit = i % UNITS;
    copy_async<16>(tile + row * (D + PITCH_PAD) + unit * 8, source + row * row_bytes + unit * 16, row >= begin && row < end);
  }
}

// Rows without gaps as they are; n_bytes is a multiple of 16.
template <int THREADS>
__device__ __forceinline__ void copy_bytes(unsigned char* target, const unsigned char* source, int n_bytes) {
  for (int i = threadIdx.x * 16; i < n_bytes; i += THREADS * 16) copy_async<16>(target + i, source + i);
}

__device__ __forceinline__ __half2 as_half2(unsigned x) { return *(const __half2*)&x; }
__device__ __forceinline__ unsigned as_bits(__half2 x) { return *(const unsigned*)&x; }

// Two bytes of 16 bits, each put under the exponent of 1024: exact f16 numbers 1024 + byte.
__device__ __forceinline__ __half2 bytes_over_1024(unsigned two_bytes) {
  return as_half2(__byte_perm(two_bytes, 0x64646464u, 0x5140));
}

// 16 elements from element 16 i of a row on, as f16.
__device__ __forceinline__ void decode_16(int type, const unsigned char* row, int i, unsigned (&x)[8]) {
  if (type == F16) {
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = ((const unsigned*)row)[i * 8 + j];
    return;
  }
  const bool q8 = type == Q8_0;
  const unsigned char* block = row + i / 2 * (q8 ? CacheQ8_0::BYTES : CacheQ4_0::BYTES);
  const __half2 d = __half2half2(*(const __half*)block);
  const __half2 zero = __half2half2(__float2half_rn(q8 ? 1152.0f : 1032.0f));
  const unsigned short* q = (const unsigned short*)(block + 2 + (q8 ? i % 2 * 16 : 0));
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const unsigned two = q8 ? q[j] ^ 0x8080u : (unsigned)q[j] >> i % 2 * 4 & 0x0f0fu;
    x[j] = as_bits(__hmul2(__hsub2(bytes_over_1024(two), zero), d));
  }
}

// A copied tile as f16; rows outside [begin, end) become zeros.
template <int D, int KEYS, int THREADS>
__device__ __forceinline__ void decode_rows(__half* tile, const unsigned char* raw, int type, int row_bytes, int begin, int end) {
  constexpr int UNITS = D / 16;
#pragma unroll COPY_UNROLL
  for (int i = threadIdx.x; i < KEYS * UNITS; i += THREADS) {
    const int row = i / UNITS, unit = i % UNITS;
    unsigned x[8] = {};
    if (row >= begin && row < end) decode_16(type, raw + row * row_bytes, unit, x);
    uint4* target = (uint4*)(tile + row * (D + PITCH_PAD) + unit * 16);
    target[0] = make_uint4(x[0], x[1], x[2], x[3]);
    target[1] = make_uint4(x[4], x[5], x[6], x[7]);
  }
}

// f32 as the sum of two f16: 22 bits, so that large scores stay exact enough.
__device__ __forceinline__ void split_half(float x, float y, unsigned& high, unsigned& low) {
  const __half2 h = __floats2half2_rn(x, y);
  const float2 rounded = __half22float2(h);
  high = as_bits(h);
  low = as_bits(__floats2half2_rn(x - rounded.x, y - rounded.y));
}
