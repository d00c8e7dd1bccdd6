// stream.cuh: what kernels share that multiply one token by weights near the limit of the memory.
//
// Weights are known before the step begins: their copies to shared memory start before pdl_wait(), so that they
// arrive while the kernel ahead still runs. Only what that kernel wrote is read after the wait.
#pragma once
#include "functions.cuh"
#include "quants/all.cuh"

constexpr int MAX_STAGES = 12;

// v is computed by now: the compiler would leave some of it until behind a wait.
__device__ __forceinline__ void settle(int& v) {
#if !defined(CUDA_EMU)
  asm volatile("" : "+r"(v));
#endif
}

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
  // Where elements 4 i ... 4 i + 3 of the first term lie.
  __device__ __forceinline__ int* place(int i) const { return (int*)(planes + i % 8 / 4 * n_chunk + i / 8) + i % 4; }
  // Fours of neighbours: v[j] is elements 4 i ... 4 i + 3, i = first + j * step, of which i < n exist (others are zero). The
  // eight lanes of a block stand side by side; all lanes call this. Step by step for all j: shuffles take their time.
  template <int N> __device__ __forceinline__ void store(int first, int step, int n, const float4 (&v)[N]) const {
    float top[N];
#pragma unroll
    for (int j = 0; j < N; j++) top[j] = fmaxf(fmaxf(fabsf(v[j].x), fabsf(v[j].y)), fmaxf(fabsf(v[j].z), fabsf(v[j].w)));
#pragma unroll
    for (int lanes = 4; lanes; lanes /= 2)
#pragma unroll
      for (int j = 0; j < N; j++) top[j] = fmaxf(top[j], __shfl_xor_sync(~0u, top[j], lanes));
    constexpr float LARGEST = FINE ? 32512 : 127;
    int words[N], sum[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
      // Where all are too small for the inverse, they count as zero.
      const float inverse = top[j] > 1e-30f ? __fdividef(LARGEST, top[j]) : 0.0f;
      const int a = __float2int_rn(v[j].x * inverse), b = __float2int_rn(v[j].y * inverse), c = __float2int_rn(v[j].z * inverse),
                e = __float2int_rn(v[j].w * inverse);
      words[j] = (int)__byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, e, 0x0040), 0x5410);
      if (FINE && first + j * step < n)  // at once: registers hold one term
        *place(first + j * step) = (int)__byte_perm(__byte_perm(a + 128, b + 128, 0x0051), __byte_perm(c + 128, e + 128, 0x0051), 0x5410);
      sum[j] = FINE ? a + b + c + e : __dp4a(words[j], 0x01010101, 0);
    }
#pragma unroll
    for (int lanes = 4; lanes; lanes /= 2)
#pragma unroll
      for (int j = 0; j < N; j++) sum[j] += __shfl_xor_sync(~0u, sum[j], lanes);
#pragma unroll
    for (int j = 0; j < N; j++) {
      const int i = first + j * step;
      if (i < n) {
        place(i)[FINE ? 8 * n_chunk : 0] = words[j];
        const float d = top[j] * (1 / LARGEST);
        if (i % 8 == 0) scale[i / 8] = make_float2(d, d * sum[j]);
      }
    }
  }
};

// Weights that lie as in the file: eight numbers a lane, T unpacks two of a word.
template <class T> struct Floats {
  static constexpr bool FINE = false;
  struct Raw {
    uint4 q;
  };
  __device__ static __forceinline__ int row_bytes(int n_chunk) { return n_chunk * 64; }
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int, int c) { return {load16(row, c)}; }
};
struct PairF16 {
  __device__ static __forceinline__ float2 get(unsigned word) { return __half22float2(*(const __half2*)&word); }
};
struct PairBF16 {
  __device__ static __forceinline__ float2 get(unsigned word) {
    return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
  }
};

// One row of activations in shared memory as f32: the first four of each eight, then the others.
struct FloatActivations {
  static constexpr int BYTES = 128;
  float4 *low, *high;
  __device__ FloatActivations(uint8_t* at, int n_chunk) : low((float4*)at), high(low + 4 * n_chunk) {}
  template <int N> __device__ __forceinline__ void store(int first, int step, int n, const float4 (&v)[N]) const {
#pragma unroll
    for (int j = 0; j < N; j++) {
      const int i = first + j * step;
      if (i < n) (i % 2 ? high : low)[i / 2] = v[j];
    }
  }
};

// How the rows of a type are multiplied: WIDTH elements a lane, and the form of the activations.
template <class Q> struct Product {
  static constexpr int WIDTH = 32, BYTES = Activation<Q::FINE>::BYTES;
  using X = Activations<Q::FINE>;
  __device__ static __forceinline__ int n_block(int n_chunk) { return n_chunk / Q::CHUNKS; }
  template <int ROWS>
  __device__ static __forceinline__ void multiply(const typename Q::Raw (&raw)[ROWS], int c, const X& x, float (&sum)[ROWS]) {
    const Activation<Q::FINE> a = x.load(c);
#pragma unroll
    for (int r = 0; r < ROWS; r++) sum[r] += dot<Q>(Q::unpack(raw[r], c), a);
  }
};
template <class T> struct Product<Floats<T>> {
  static constexpr int WIDTH = 8, BYTES = FloatActivations::BYTES;
  using X = FloatActivations;
  __device__ static __forceinline__ int n_block(int) { return 0; }
  template <int ROWS>
  __device__ static __forceinline__ void multiply(const typename Floats<T>::Raw (&raw)[ROWS], int c, const X& x, float (&sum)[ROWS]) {
    const float4 a = x.low[c], b = x.high[c];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float2 p = T::get(raw[r].q.x), q = T::get(raw[r].q.y), s = T::get(raw[r].q.z), t = T::get(raw[r].q.w);
      sum[r] += p.x * a.x + p.y * a.y + q.x * a.z + q.y * a.w + s.x * b.x + s.y * b.y + t.x * b.z + t.y * b.w;
    }
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
    // Below 2^32 for 2^20 rows and 4095 blocks.
    const unsigned total = pairs ? n0 : n0 + n1 + n2;
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
