// moe_sum_f32: y[t,:] = sum_j weights[t,j] * x[t,j,:] (+ add[t,:]), in the order of j
// x (n_tok, n_used, n_col) f32, its rows at two strides (rows.cuh); weights (n_tok, n_used) f32, w_stride elements
// between rows; add (n_tok, n_col) f32 with its row stride, or null; y (n_tok, n_col)
// WIDTH 4: n_col, all strides and addresses are multiples of four floats, else WIDTH 1
// block and grid: elementwise.cuh, a row a token
// memory-bound: reads x and add once, writes y once
#include "rows.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) moe_sum_f32(
    const float* __restrict__ x, const float* __restrict__ weights, const float* __restrict__ add,
    float* __restrict__ y, int n_tok, int n_col, int n_used, Strides of_x, int w_stride, int add_stride) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n_col / WIDTH) return;
  for (int t = blockIdx.y * blockDim.y + threadIdx.y; t < n_tok; t += gridDim.y * blockDim.y) {
    Floats<WIDTH> sum = {};
#pragma unroll 4
    for (int j = 0; j < n_used; j++) {
      const float weight = weights[(long long)t * w_stride + j];
      const Floats<WIDTH> v = load<WIDTH>(x + t * of_x.outer + j * of_x.inner, i);
#pragma unroll
      for (int k = 0; k < WIDTH; k++) sum.v[k] += weight * v.v[k];
    }
    if (add) {
      const Floats<WIDTH> v = load<WIDTH>(add + (long long)t * add_stride, i);
#pragma unroll
      for (int k = 0; k < WIDTH; k++) sum.v[k] += v.v[k];
    }
    store<WIDTH>(y + (long long)t * n_col, i, sum);
  }
}
