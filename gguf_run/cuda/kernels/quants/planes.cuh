// planes.cuh: how quantised rows lie in device memory, and the one form that every type is unpacked to.
//
// A type is a struct that derives from Planes and says how 32 neighbouring elements (a chunk) are loaded and
// unpacked; products, get_rows and the repacking are written once over that. Python reads the same declarations
// (layout.py), so they stand on one line each and name bytes by number.
#pragma once
#include <cuda_fp16.h>
#include "../ptx.cuh"

// Bytes FROM : FROM + SIZE of a block of the file.
template <int FROM, int SIZE> struct At {
  static constexpr int size = SIZE;
};

// Blocks of BLOCK elements and BYTES bytes. A row in memory is [plane 0 of all its blocks | plane 1 of all | ...],
// each plane padded to 16 bytes: quants can be loaded 16 bytes at a time, and a row is one aligned range.
template <int BLOCK, int BYTES, class... PLANES> struct Planes {
  static constexpr int CHUNKS = BLOCK / 32;  // chunks of a block

  // Byte offset of plane P in a row of n blocks; that of the plane behind the last is the size of the row.
  template <int P> __device__ static __forceinline__ int plane(int n) {
    const int sizes[] = {PLANES::size...};
    int offset = 0;
#pragma unroll
    for (int i = 0; i < P; i++) offset += (n * sizes[i] + 15) & ~15;
    return offset;
  }
  __device__ static __forceinline__ int row_bytes(int n_chunk) { return plane<sizeof...(PLANES)>(n_chunk / CHUNKS); }
};

// 32 elements: value i = d[i / 16] * (w_i - OFFSET) - m[i / 16], w_i the int8 numbers in the words w, in order.
// Types say which of it they use: SCALES (1: d[0], m[0] serve all 32), MINS (m isn't zero), SIGNED (some w_i may be
// negative), OFFSET (0 where SCALES is 2).
struct Chunk {
  int w[8];
  float d[2], m[2];
};

template <int SCALES_, bool MINS_, bool SIGNED_, int OFFSET_ = 0> struct Form {
  static constexpr int SCALES = SCALES_, OFFSET = OFFSET_;
  static constexpr bool MINS = MINS_, SIGNED = SIGNED_;
  static constexpr bool FINE = false;
};

// Types so fine that rounding activations to int8 would be the larger error: few tokens come in two int8 terms (Q16_1).
template <class F> struct Fine : F {
  static constexpr bool FINE = true;
};

// 32 activations: int8 numbers q, or 256 * q + low where FINE; `scale` = (d, d * sum of them) of their block.
template <bool FINE> struct Activation {
  static constexpr int BYTES = FINE ? 72 : 40;
  int q[8], low[FINE ? 8 : 1];
  float2 scale;
};

// ---- loads from plane `at` of a row ----------------------------------------------------------------------------

// A row, or a plane of one, that was copied to shared memory; rows in global memory are plain pointers.
struct Staged {
  const uint8_t* at;
  __device__ __forceinline__ Staged operator+(int bytes) const { return {at + bytes}; }
};
template <class T> __device__ __forceinline__ T load_as(const uint8_t* at, int i) { return __ldg((const T*)at + i); }
template <class T> __device__ __forceinline__ T load_as(Staged row, int i) { return ((const T*)row.at)[i]; }

template <class Row> __device__ __forceinline__ uint4 load16(Row at, int i) { return load_as<uint4>(at, i); }
template <class Row> __device__ __forceinline__ uint2 load8(Row at, int i) { return load_as<uint2>(at, i); }
template <class Row> __device__ __forceinline__ unsigned load4(Row at, int i) { return load_as<unsigned>(at, i); }
template <class Row> __device__ __forceinline__ unsigned load2(Row at, int i) { return load_as<unsigned short>(at, i); }
template <class Row> __device__ __forceinline__ unsigned load1(Row at, int i) { return load_as<uint8_t>(at, i); }

// The f16 number in the low 16 bits.
__device__ __forceinline__ float half_bits(unsigned bits) { return __half2float(__ushort_as_half((unsigned short)bits)); }

// ---- four bytes in a word --------------------------------------------------------------------------------------

// Bytes 0 ... 127, minus K (1 ... 128): no byte borrows from the next.
template <int K> __device__ __forceinline__ int minus4(unsigned bytes) {
  return (int)((bytes + (128u - K) * 0x01010101u) ^ 0x80808080u);
}
// Bit i of the low four to bit 0 of byte i.
__device__ __forceinline__ unsigned spread4(unsigned bits) { return ((bits & 15u) * 0x00204081u) & 0x01010101u; }
// Bytes that are not zero, negated where bit i of the low four of `signs` is set.
__device__ __forceinline__ int negate4(unsigned bytes, unsigned signs) {
  const unsigned ones = spread4(signs);
  return (int)((bytes ^ ones * 255u) + ones);
}
// Eight 4-bit codes in a word to bytes of a table of 16: the low nibbles' to `low`, the high ones' to `high`.
struct Table16 {
  unsigned t0, t1, t2, t3;
};
__device__ __forceinline__ unsigned look_up4(const Table16& t, unsigned codes) {  // the codes in the low 16 bits, in order
  const unsigned below = __byte_perm(t.t0, t.t1, codes & 0x7777u), above = __byte_perm(t.t2, t.t3, codes & 0x7777u);
  return __byte_perm(below, above, 0x3210u | (codes & 0x8888u) >> 1);
}
__device__ __forceinline__ void look_up(const Table16& t, unsigned codes, int& low, int& high) {
  const unsigned a = look_up4(t, codes & 0xffffu), b = look_up4(t, codes >> 16);
  low = (int)__byte_perm(a, b, 0x6420), high = (int)__byte_perm(a, b, 0x7531);
}

// ---- what products and get_rows do with a chunk ----------------------------------------------------------------

// The sum of products of words FROM ... TO - 1 of `w` and activations: at most 2^27 in size, as they are below 2^15.
template <int FROM, int TO, bool FINE> __device__ __forceinline__ int products(const int (&w)[8], const Activation<FINE>& x) {
  int sum = 0, low = 0;
#pragma unroll
  for (int i = FROM; i < TO; i++) {
    sum = __dp4a(w[i], x.q[i], sum);
    if (FINE) low = __dp4a(w[i], x.low[FINE ? i : 0], low);
  }
  return FINE ? 256 * sum + low : sum;
}

// The dot product of a chunk with 32 activations.
template <class Q> __device__ __forceinline__ float dot(const Chunk& c, const Activation<Q::FINE>& x) {
  static_assert(Q::OFFSET == 0 || Q::SCALES == 1, "an offset needs the sum over the block that has one scale");
  const float2 scale = x.scale;
  if (Q::SCALES == 1) {
    const int sum = products<0, 8>(c.w, x);
    float result = c.d[0] * (Q::OFFSET ? scale.x * sum - Q::OFFSET * scale.y : scale.x * sum);
    return Q::MINS ? result - c.m[0] * scale.y : result;
  }
  const int ones[8] = {0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101};
  float result = c.d[0] * products<0, 4>(c.w, x) + c.d[1] * products<4, 8>(c.w, x);
  if (Q::MINS) result -= c.m[0] * products<0, 4>(ones, x) + c.m[1] * products<4, 8>(ones, x);
  return scale.x * result;
}

// Element i of a chunk.
template <class Q> __device__ __forceinline__ float element(const Chunk& c, int i) {
  const int half = Q::SCALES == 2 ? i / 16 : 0;
  const float value = c.d[half] * ((int8_t)(c.w[i / 4] >> 8 * (i % 4)) - Q::OFFSET);
  return Q::MINS ? value - c.m[half] : value;
}

// w_i - OFFSET of elements 4 i ... 4 i + 3 as f16, exact: the bits 0x6400 | byte are the f16 number 1024 + byte.
template <class Q> __device__ __forceinline__ uint2 halves4(int word) {
  const unsigned u = Q::SIGNED ? word ^ 0x80808080u : word;
  const __half2 zero = __float2half2_rn(1024.0f + (Q::SIGNED ? 128 : 0) + Q::OFFSET);
  const unsigned a = __byte_perm(u, 0x64646464u, 0x5140), b = __byte_perm(u, 0x64646464u, 0x7362);
  const __half2 low = __hsub2(*(const __half2*)&a, zero), high = __hsub2(*(const __half2*)&b, zero);
  return make_uint2(*(const unsigned*)&low, *(const unsigned*)&high);
}
