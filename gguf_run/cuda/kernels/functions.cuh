// functions.cuh: activation functions of one number, at full f32 precision for any argument. NaN stays NaN.
#pragma once

// 1 / (1 + exp(-x)); exp(-|x|) can't overflow, and both branches keep their full precision
__device__ __forceinline__ float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return (x >= 0 ? 1.0f : small) / (1.0f + small);
}
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }
// gelu by tanh (arXiv:1606.08415): (1 + tanh z) / 2 = sigmoid(2 z)
__device__ __forceinline__ float gelu(float x) {
  return x * sigmoid(2.0f * 0.7978845608028654f * (x + 0.044715f * x * x * x));  // sqrt(2 / pi)
}
__device__ __forceinline__ float gelu_erf(float x) { return x * 0.5f * (1.0f + erff(x * 0.7071067811865476f)); }
__device__ __forceinline__ float gelu_quick(float x) { return x * sigmoid(1.702f * x); }
__device__ __forceinline__ float relu(float x) { return x < 0 ? 0.0f : x; }
__device__ __forceinline__ float square(float x) { return x * x; }
// log(1 + exp(x))
__device__ __forceinline__ float softplus(float x) { return x != x ? x : fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }
