// stream.cuh: what kernels share that multiply one token by weights near the limit of the memory.
//
// Weights are known before the step begins: their copies to shared memory start before pdl_wait(), so that they
// arrive while the kernel ahead still runs. Only what that kernel wrote is read after the wait.
#pragma once
#include "functions.cuh"
#include "quants/all.cuh"

constexpr int MAX_STAGES = 12, MAX_SPLIT = 8;

// One row of activations in shared memory as Q8_1 or, FINE, Q16_1: planes of 16 int8 numbers, one for each half of a block
// and term, then (d, d * sum of the numbers) of each block.
template <bool FINE> struct Activations {
  int4* planes;
  float2* scale;
  int n_chunk;
  __device__ Activations(uint8_t* at, int n) : planes((int4*)at), scale((float2*)(planes + (FINE ? 4 : 2) * n)), n_chunk(n) {}
  __device__ __forceinline__ void load_words(const int4* at, int (&q)[8]) const {
    const int4 a = at[0], b = at[n_chunk];
    q[0] = a.x, q[1] = a.y, q[2] = a.z, q[3] = a.w, q[4] = b.x, q[5] = b.y, q[6] = b.z, q[7] = b.w;
  }
  __device__ __forceinline__ Activation<FINE> load(int c) const {
    Activation<FINE> a;
    load_words(planes + c, a.q);
    if constexpr (FINE) load_words(planes + 2 * n_chunk + c, a.low);
    a.scale = scale[c];
    return a;
  }
  // Four neighbours, elements 4 i ... 4 i + 3, by each lane; all lanes of the warp call this, i rises from lane to lane.
  __device__ __forceinline__ void store(int i, float4 v, bool valid) const {
    const float top = warp_max<8>(fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    // Where all are too small for the inverse, they count as zero.
    constexpr float LARGEST = FINE ? 32512 : 127;
    const float inverse = top > 1e-30f ? __fdividef(LARGEST, top) : 0.0f, d = top * (1 / LARGEST);
    const int a = __float2int_rn(v.x * inverse), b = __float2int_rn(v.y * inverse), c = __float2int_rn(v.z * inverse),
              e = __float2int_rn(v.w * inverse);
    const int sum = warp_sum<8>(a + b + c + e);
    if (!valid) return;
    const int block = i / 8, word = i % 8;
    int* const at = (int*)(planes + word / 4 * n_chunk + block) + word % 4;
    at[FINE ? 8 * n_chunk : 0] = (int)__byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, e, 0x0040), 0x5410);
    if (FINE) *at = (int)__byte_perm(__byte_perm(a + 128, b + 128, 0x0051), __byte_perm(c + 128, e + 128, 0x0051), 0x5410);
    if (word == 0) scale[block] = make_float2(d, d * sum);
  }
};

// What a block multiplies: `n` rows from `first` on and, of a gated unit, the n rows of `second` behind them.
struct Tile {
  const uint8_t *first, *second;
  int n;
};

// The rows of up to three weights as one list of units: rows one weight after another or, gated, pairs of rows of the
// first two. A block has the units begin ... end.
struct Units {
  const uint8_t *w0, *w1, *w2;
  int end0, end1, row_bytes, begin, end;
  bool gated;

  __device__ __forceinline__ Units(const uint8_t* a, const uint8_t* b, const uint8_t* c, int n0, int n1, int n2, bool pairs, int bytes)
      : w0(a), w1(b), w2(c), end0(n0), end1(n0 + n1), row_bytes(bytes), gated(pairs) {
    const long long total = pairs ? n0 : n0 + n1 + n2;
    begin = (int)(total * blockIdx.x / gridDim.x), end = (int)(total * (blockIdx.x + 1) / gridDim.x);
  }
  // The tile from `unit` on with at most `most` units.
  __device__ __forceinline__ Tile tile(int unit, int most) const {
    const size_t bytes = row_bytes;
    if (gated) return {w0 + unit * bytes, w1 + unit * bytes, min(most, end - unit)};
    const uint8_t* from = unit < end0 ? w0 + unit * bytes : unit < end1 ? w1 + (unit - end0) * bytes : w2 + (unit - end1) * bytes;
    const int stop = unit < end0 ? end0 : unit < end1 ? end1 : end;
    return {from, nullptr, min(most, min(stop, end) - unit)};
  }
};

__device__ __forceinline__ float gated_unit(int op, float gate, float up) {  // in the order of GLU_OPS
  return (op == 0 ? silu(gate) : op == 1 ? gelu(gate) : op == 2 ? relu(gate) : op == 3 ? gelu_erf(gate) : gelu_quick(gate)) * up;
}
