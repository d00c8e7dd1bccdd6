// Four-bit floats (E2M1): 0 0.5 1 1.5 2 3 4 6 and their negatives, kept doubled as int8; the scales are halved.
#pragma once
#include "legacy.cuh"

__device__ __forceinline__ Table16 e2m1_doubled() { return {0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu}; }

// value = 2^(e - 128) * code
struct MXFP4 : Planes<32, 17, At<1, 16>, At<0, 1>>, Form<1, false, true> {
  using Raw = NibblesAndScale;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load1(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    const unsigned words[4] = {raw.q.x, raw.q.y, raw.q.z, raw.q.w};
#pragma unroll
    for (int i = 0; i < 4; i++) look_up(e2m1_doubled(), words[i], c.w[i], c.w[i + 4]);
    // Half of 2^(e - 127); the two smallest are subnormal.
    c.d[0] = __uint_as_float(raw.scale < 2 ? 0x00200000u << raw.scale : raw.scale - 1 << 23);
    return c;
  }
};

// value = scale * code, an unsigned E4M3 scale every 16; 16 elements are the low, then the high nibbles of 8 bytes
struct NVFP4 : Planes<64, 36, At<4, 32>, At<0, 4>>, Form<2, false, true> {
  using Raw = NibblesAndScale;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load2(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ float scale(unsigned e4m3) {
    // The bits moved up are an f32 number whose exponent is too small by 120; NaN's bits stand for zero.
    return e4m3 == 0x7f ? 0.0f : __uint_as_float((e4m3 & 0x7f) << 20) * 6.646139978924579e35f;  // 2^119
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    look_up(e2m1_doubled(), raw.q.x, c.w[0], c.w[2]);
    look_up(e2m1_doubled(), raw.q.y, c.w[1], c.w[3]);
    look_up(e2m1_doubled(), raw.q.z, c.w[4], c.w[6]);
    look_up(e2m1_doubled(), raw.q.w, c.w[5], c.w[7]);
    c.d[0] = scale(raw.scale & 255), c.d[1] = scale(raw.scale >> 8);
    return c;
  }
};
