// sample.cuh: what the kernels that draw tokens share: a sampler's parameters, biased and penalised logits, weights.
#pragma once
#include "keys.cuh"

constexpr int PER_THREAD = 8, PART = 256 * PER_THREAD;  // columns of a thread and of a block

struct Sampler {  // the order of graph_ops.SAMPLER
  float top_k, min_keep, top_p, log_min_p, temperature, repeat, frequency, presence;
  __device__ __forceinline__ int k() const { return (int)top_k; }
  __device__ __forceinline__ bool penalises() const { return repeat != 1 || frequency != 0 || presence != 0; }
};

// Rows of logits with what the chain's first steps make of them. Never fused: the host rounds after each operation.
struct Logits {
  const float *x, *bias;  // (n_rows, n_col), x with a row stride
  const int* counts;      // (n_rows, n_col): how often a token stands in the recent text
  int n_col, row_stride;
  Sampler s;
  __device__ __forceinline__ float at(int row, int column) const {
    const long long i = (long long)row * n_col + column;
    const float logit = __fadd_rn(x[(long long)row * row_stride + column], bias[i]);
    const int count = s.penalises() ? counts[i] : 0;
    if (count == 0) return logit;
    const float repeated = logit <= 0 ? __fmul_rn(logit, s.repeat) : __fdiv_rn(logit, s.repeat);
    return __fsub_rn(repeated, __fadd_rn(__fmul_rn((float)count, s.frequency), s.presence));
  }
};

// e^(logit - top), rounded once; 0 behind the least float, where exp needn't be asked.
__device__ __forceinline__ float weight(float logit, float top) {
  const float x = __fsub_rn(logit, top);
  return x < -104 ? 0.0f : (float)exp((double)x);
}

// 0 <= u < 1 from two words of 32 bits, the low one first.
__device__ __forceinline__ double uniform(uint2 words) {
  const double u = ((double)words.x + (double)words.y * 4294967296.0) / 18446744073709551616.0;
  return fmin(u, 1 - 0x1p-53);
}
