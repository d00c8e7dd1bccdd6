// Blocks of 32 with one scale (_0), or a scale and a minimum (_1); low nibbles are elements 0-15, high ones 16-31.
#pragma once
#include "planes.cuh"

struct NibblesAndScale {
  uint4 q;
  unsigned scale;
};

__device__ __forceinline__ void unpack_nibbles(const uint4& q, Chunk& c) {
  const unsigned words[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
  for (int i = 0; i < 4; i++) c.w[i] = words[i] & 0x0f0f0f0fu, c.w[i + 4] = words[i] >> 4 & 0x0f0f0f0fu;
}
// The fifth bits, element i's in bit i.
__device__ __forceinline__ void add_fifth_bits(unsigned bits, Chunk& c) {
#pragma unroll
  for (int i = 0; i < 8; i++) c.w[i] |= spread4(bits >> 4 * i) << 4;
}

// value = d * (q - 8)
struct Q4_0 : Planes<32, 18, At<2, 16>, At<0, 2>>, Form<1, false, false, 8> {
  using Raw = NibblesAndScale;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load2(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    unpack_nibbles(raw.q, c);
    c.d[0] = half_bits(raw.scale);
    return c;
  }
};

// value = d * q + m
struct Q4_1 : Planes<32, 20, At<4, 16>, At<0, 4>>, Form<1, true, false> {
  using Raw = NibblesAndScale;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load4(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    unpack_nibbles(raw.q, c);
    c.d[0] = half_bits(raw.scale), c.m[0] = -half_bits(raw.scale >> 16);
    return c;
  }
};

// value = d * (q - 16), the fifth bit of q in a word of its own
struct Q5_0 : Planes<32, 22, At<6, 16>, At<2, 4>, At<0, 2>>, Form<1, false, false, 16> {
  struct Raw {
    uint4 q;
    unsigned high, scale;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load4(row + plane<1>(n), c), load2(row + plane<2>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    unpack_nibbles(raw.q, c);
    add_fifth_bits(raw.high, c);
    c.d[0] = half_bits(raw.scale);
    return c;
  }
};

// value = d * q + m, q as Q5_0's
struct Q5_1 : Planes<32, 24, At<8, 16>, At<4, 4>, At<0, 4>>, Form<1, true, false> {
  using Raw = Q5_0::Raw;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load4(row + plane<1>(n), c), load4(row + plane<2>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    unpack_nibbles(raw.q, c);
    add_fifth_bits(raw.high, c);
    c.d[0] = half_bits(raw.scale), c.m[0] = -half_bits(raw.scale >> 16);
    return c;
  }
};

// value = d * q, q int8
struct Q8_0 : Planes<32, 34, At<2, 32>, At<0, 2>>, Fine<Form<1, false, true>> {
  struct Raw {
    uint4 q0, q1;
    unsigned scale;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, 2 * c), load16(row, 2 * c + 1), load2(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    return {{(int)raw.q0.x, (int)raw.q0.y, (int)raw.q0.z, (int)raw.q0.w, (int)raw.q1.x, (int)raw.q1.y, (int)raw.q1.z,
             (int)raw.q1.w},
            {half_bits(raw.scale), 0},
            {0, 0}};
  }
};
