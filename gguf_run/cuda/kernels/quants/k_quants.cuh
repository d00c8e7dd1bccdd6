// K-quants: super-blocks of 256, eight chunks, whose scales are quantised themselves.
#pragma once
#include "planes.cuh"

// (bytes >> shift & mask) for the 32 bytes of two 16-byte loads, as the words of a chunk.
__device__ __forceinline__ void unpack_bits(const uint4& q0, const uint4& q1, int shift, unsigned mask, Chunk& c) {
  const unsigned words[8] = {q0.x, q0.y, q0.z, q0.w, q1.x, q1.y, q1.z, q1.w};
#pragma unroll
  for (int i = 0; i < 8; i++) c.w[i] = words[i] >> shift & mask;
}
// Adds (bytes >> shift & mask) << up.
__device__ __forceinline__ void add_bits(const uint4& q0, const uint4& q1, int shift, unsigned mask, int up, Chunk& c) {
  const unsigned words[8] = {q0.x, q0.y, q0.z, q0.w, q1.x, q1.y, q1.z, q1.w};
#pragma unroll
  for (int i = 0; i < 8; i++) c.w[i] |= (words[i] >> shift & mask) << up;
}

// d and dmin as f16 in the first word, then twelve bytes: the low six bits of bytes 0-3 are the scales of chunks 0-3,
// those of bytes 4-7 their minimums; the low nibbles of bytes 8-11 are scales 4-7 and the high ones minimums 4-7,
// whose upper two bits are the upper two bits of bytes 0-3 and 4-7.
__device__ __forceinline__ void unpack_scale_and_min(const uint4& head, int j, Chunk& c) {
  const int shift = 8 * (j & 3);
  const unsigned first = head.y >> shift & 255, second = head.z >> shift & 255, third = head.w >> shift & 255;
  const unsigned scale = j < 4 ? first & 63 : (third & 15) | first >> 6 << 4;
  const unsigned min = j < 4 ? second & 63 : third >> 4 | second >> 6 << 4;
  c.d[0] = half_bits(head.x) * scale, c.m[0] = half_bits(head.x >> 16) * min;
}

// value = d * scale * q - dmin * min, q in four bits: chunks 2 i and 2 i + 1 are the low and high nibbles of 32 bytes
struct Q4_K : Planes<256, 144, At<0, 144>>, Form<1, true, false> {
  struct Raw {
    uint4 q0, q1, head;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int, int c) {
    const Row block = row + c / 8 * 144;
    const int i = 1 + c % 8 / 2 * 2;
    return {load16(block, i), load16(block, i + 1), load16(block, 0)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 4 * (i & 1), 0x0f0f0f0fu, c);
    unpack_scale_and_min(raw.head, i & 7, c);
    return c;
  }
};

// as Q4_K with a fifth bit: bit j of 32 bytes for chunk j
struct Q5_K : Planes<256, 176, At<0, 176>>, Form<1, true, false> {
  struct Raw {
    uint4 q0, q1, high0, high1, head;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int, int c) {
    const Row block = row + c / 8 * 176;
    const int i = 3 + c % 8 / 2 * 2;
    return {load16(block, i), load16(block, i + 1), load16(block, 1), load16(block, 2), load16(block, 0)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 4 * (i & 1), 0x0f0f0f0fu, c);
    add_bits(raw.high0, raw.high1, i & 7, 0x01010101u, 4, c);
    unpack_scale_and_min(raw.head, i & 7, c);
    return c;
  }
};

// value = d * scale * (q - 32), a scale every 16. A half of a block (128 elements) has 64 bytes of low nibbles,
// chunks 0 and 1 in the low halves of the bytes, 2 and 3 in the high ones, and 32 bytes with two bits a chunk.
struct Q6_K : Planes<256, 210, At<0, 128>, At<128, 64>, At<192, 16>, At<208, 2>>, Form<2, false, true> {
  struct Raw {
    uint4 q0, q1, high0, high1;
    unsigned scales, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    const int low = c / 4 * 4 + c % 2 * 2, high = c / 4 * 2;
    return {load16(row, low),          load16(row, low + 1),          load16(row + plane<1>(n), high), load16(row + plane<1>(n), high + 1),
            load2(row + plane<2>(n), c), load2(row + plane<3>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 2 * (i & 2), 0x0f0f0f0fu, c);
    add_bits(raw.high0, raw.high1, 2 * (i & 3), 0x03030303u, 4, c);
#pragma unroll
    for (int k = 0; k < 8; k++) c.w[k] = minus4<32>(c.w[k]);
    const float d = half_bits(raw.d);
    c.d[0] = d * (int8_t)raw.scales, c.d[1] = d * (int8_t)(raw.scales >> 8);
    return c;
  }
};

// value = d * scale * q - dmin * min, both nibbles of a byte, every 16; q in two bits: chunks 0-3 of a half share 32 bytes
struct Q2_K : Planes<256, 84, At<0, 16>, At<16, 64>, At<80, 4>>, Form<2, true, false> {
  struct Raw {
    uint4 q0, q1;
    unsigned scales, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    const Row q = row + plane<1>(n);
    return {load16(q, c / 4 * 2), load16(q, c / 4 * 2 + 1), load2(row, c), load4(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 2 * (i & 3), 0x03030303u, c);
    const float d = half_bits(raw.d), min = half_bits(raw.d >> 16);
    c.d[0] = d * (raw.scales & 15), c.d[1] = d * (raw.scales >> 8 & 15);
    c.m[0] = min * (raw.scales >> 4 & 15), c.m[1] = min * (raw.scales >> 12);
    return c;
  }
};

// value = d * (scale - 32) * (q - 4), a scale every 16; q's low two bits as Q2_K's, its third in bit j for chunk j.
// Scale k of 16 has its low nibble in byte k % 8 (low half for k < 8), its upper two bits in byte 8 + k % 4, at 2 (k / 4).
struct Q3_K : Planes<256, 110, At<0, 32>, At<32, 64>, At<96, 12>, At<108, 2>>, Form<2, false, true> {
  struct Raw {
    uint4 q0, q1, high0, high1;
    unsigned low, high, d;  // the word of low nibbles and that of upper bits that hold this chunk's scales
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    const Row q = row + plane<1>(n), scales = row + plane<2>(n);
    const int block = c / 8;
    return {load16(q, c / 4 * 2),           load16(q, c / 4 * 2 + 1),  load16(row, 2 * block),
            load16(row, 2 * block + 1),     load4(scales, 3 * block + c / 2 % 2), load4(scales, 3 * block + 2),
            load2(row + plane<3>(n), block)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 2 * (i & 3), 0x03030303u, c);
    add_bits(raw.high0, raw.high1, i & 7, 0x01010101u, 2, c);
#pragma unroll
    for (int k = 0; k < 8; k++) c.w[k] = minus4<4>(c.w[k]);
    const float d = half_bits(raw.d);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int k = 2 * (i & 7) + half;
      const int low = raw.low >> (8 * (k & 3) + 4 * (k >> 3)) & 15, high = raw.high >> (8 * (k & 3) + 2 * (k >> 2)) & 3;
      c.d[half] = d * ((low | high << 4) - 32);
    }
    return c;
  }
};
