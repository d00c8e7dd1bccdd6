// keys.cuh: a float and its column as one number, larger where it comes first: the larger value, among equals (0 and
// -0 are) the lower column. NaN comes after everything else; 0 is no element's key and comes last.
#pragma once

typedef unsigned long long Key;

// Rises with x; less than 2^32 - 1, 0 for NaN alone.
__device__ __forceinline__ unsigned order_of(float x) {
  const unsigned bits = __float_as_uint(x);
  return x != x ? 0u : x == 0 ? 0x80000000u : bits ^ (bits >> 31 ? ~0u : 0x80000000u);
}
__device__ __forceinline__ Key key_of(float x, int column) { return (Key)order_of(x) << 32 | ~(unsigned)column; }
__device__ __forceinline__ int column_of(Key key) { return (int)~(unsigned)key; }
// The float of a key; -0 has become 0.
__device__ __forceinline__ float value_of(Key key) {
  const unsigned order = key >> 32;
  return __uint_as_float(order >> 31 ? order ^ 0x80000000u : ~order);
}
