// mul_mat_few.cuh: weights as fragments of mma, unpacked in registers.
//
// Lane 4 g + t of a warp has chunk t of each four neighbouring chunks of row g: loads of 16 bytes, no shuffles, nothing in
// shared memory. Step s (0 ... 7) of the eight mma for these 128 columns takes elements 4 s ... 4 s + 3 of every chunk, so
// of x a lane needs four neighbouring numbers a step: its fragments lie in x as they are.
#pragma once
#include "quants/all.cuh"
#include "quants/plain.cuh"

// A chunk of a row from which pairs of f16 come: values times UNIT, a power of two that keeps the small ones of usual weights
// clear of f16's least exponents.
template <class Q> struct Unpacked {
  static constexpr float UNIT = 16;
  Chunk chunk;
  __half2 d[Q::SCALES], m[Q::SCALES];
  __device__ __forceinline__ void set(const typename Q::Raw& raw, int c) {
    chunk = Q::unpack(raw, c);
    // Now: the registers of `raw` are free for the loads of the next step.
#pragma unroll
    for (int i = 0; i < 8; i++) chunk.w[i] = opaque(chunk.w[i]);
#pragma unroll
    for (int i = 0; i < Q::SCALES; i++) {
      d[i] = __float2half2_rn(UNIT * chunk.d[i]);
      if (Q::MINS) m[i] = __float2half2_rn(-UNIT * chunk.m[i]);
    }
  }
  // Elements 4 s, 4 s + 1 and 4 s + 2, 4 s + 3.
  __device__ __forceinline__ uint2 get(int s) const {
    const uint2 q = halves4<Q>(chunk.w[s]);
    const __half2 f = d[Q::SCALES == 2 ? s / 4 : 0], g = m[Q::SCALES == 2 ? s / 4 : 0];
    __half2 a = *(const __half2*)&q.x, b = *(const __half2*)&q.y;
    a = Q::MINS ? __hfma2(a, f, g) : __hmul2(a, f), b = Q::MINS ? __hfma2(b, f, g) : __hmul2(b, f);
    return make_uint2(*(const unsigned*)&a, *(const unsigned*)&b);
  }
};
template <class T> struct Unpacked<Plain<T>> {
  static constexpr float UNIT = 1;
  uint4 v[4];
  __device__ __forceinline__ void set(const typename Plain<T>::Raw& raw, int) {
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = raw.v[i];
  }
  __device__ __forceinline__ uint2 get(int s) const {
    const unsigned a = s % 2 ? v[s / 2].z : v[s / 2].x, b = s % 2 ? v[s / 2].w : v[s / 2].y;
    return make_uint2(pair(a, (T*)nullptr), pair(b, (T*)nullptr));
  }
  __device__ static __forceinline__ unsigned pair(unsigned two, const half*) { return two; }
  // Exact within f16's range; weights beyond it don't occur, and would become infinite, not wrong.
  __device__ static __forceinline__ unsigned pair(unsigned two, const nv_bfloat16*) {
    const __half2 h = __floats2half2_rn(__uint_as_float(two << 16), __uint_as_float(two & 0xffff0000u));
    return *(const unsigned*)&h;
  }
};
