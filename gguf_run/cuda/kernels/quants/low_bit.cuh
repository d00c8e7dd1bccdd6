// Ternary blocks of 256: value = d * (q - 1), q 0, 1 or 2.
#pragma once
#include "k_quants.cuh"

// q in two bits: chunks 0-3 of a half share 32 bytes
struct TQ2_0 : Planes<256, 66, At<0, 64>, At<64, 2>>, Form<1, false, false, 1> {
  struct Raw {
    uint4 q0, q1;
    unsigned d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c / 4 * 2), load16(row, c / 4 * 2 + 1), load2(row + plane<1>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_bits(raw.q0, raw.q1, 2 * (i & 3), 0x03030303u, c);
    c.d[0] = half_bits(raw.d);
    return c;
  }
};

// Five digits of base 3 a byte, as a fraction of 256: digit n is (byte * 3^n mod 256) * 3 / 256. Chunks 0-4 are digits
// 0-4 of bytes 0-31; chunks 5, 6 and half of 7 two digits each of bytes 32-47; the rest four digits of four bytes.
struct TQ1_0 : Planes<256, 54, At<0, 48>, At<48, 4>, At<52, 2>>, Form<1, false, false, 1> {
  struct Raw {
    uint4 q0, q1;
    unsigned rest, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    const int first = c / 8 * 3, j = c % 8;
    return {load16(row, first + (j < 5 ? 0 : 2)), load16(row, first + (j < 5 ? 1 : 2)), load4(row + plane<1>(n), c / 8),
            load2(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ int digits(unsigned bytes, unsigned power) {
    const unsigned even = ((bytes & 0x00ff00ffu) * power & 0x00ff00ffu) * 3, odd = ((bytes >> 8 & 0x00ff00ffu) * power & 0x00ff00ffu) * 3;
    return (int)((even >> 8 & 0x00ff00ffu) | (odd & 0xff00ff00u));
  }
  __device__ static __forceinline__ unsigned power(int n) { return n == 0 ? 1 : n == 1 ? 3 : n == 2 ? 9 : n == 3 ? 27 : 81; }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    const int j = i & 7;
    const unsigned words[8] = {raw.q0.x, raw.q0.y, raw.q0.z, raw.q0.w, raw.q1.x, raw.q1.y, raw.q1.z, raw.q1.w};
    const unsigned first = power(j < 5 ? j : 2 * j - 10), second = power(j < 5 ? j : 2 * j - 9);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      c.w[k] = digits(words[k], first);
      c.w[k + 4] = j < 7 ? digits(words[k + 4], second) : digits(raw.rest, power(k));
    }
    c.d[0] = half_bits(raw.d);
    return c;
  }
};
