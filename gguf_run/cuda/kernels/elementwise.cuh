// elementwise.cuh: y = f(a, b) and y = f(x), element by element.
//
// a, b, x (n_rows, n_col) f32 with strides (rows.cuh); y without gaps.
// block = (columns, rows) of 256 threads, grid = (ceil(n_col / WIDTH / columns), up to 65535): WIDTH elements a thread
// in each of its rows. Tensors without gaps come as one long row.
#pragma once
#include "rows.cuh"

template <int WIDTH, class F>
__device__ __forceinline__ void binary(
    const float* a, const float* b, float* y, int n_rows, int n_col, int n_inner, Strides of_a, Strides of_b, F f) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n_col / WIDTH) return;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < n_rows; row += gridDim.y * blockDim.y) {
    Floats<WIDTH> p = load<WIDTH>(a + row_start(row, n_inner, of_a), i);
    const Floats<WIDTH> q = load<WIDTH>(b + row_start(row, n_inner, of_b), i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) p.v[k] = f(p.v[k], q.v[k]);
    store<WIDTH>(y + (long long)row * n_col, i, p);
  }
}

template <int WIDTH, class F>
__device__ __forceinline__ void unary(
    const float* x, float* y, int n_rows, int n_col, int n_inner, Strides of_x, F f) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n_col / WIDTH) return;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < n_rows; row += gridDim.y * blockDim.y) {
    Floats<WIDTH> p = load<WIDTH>(x + row_start(row, n_inner, of_x), i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) p.v[k] = f(p.v[k]);
    store<WIDTH>(y + (long long)row * n_col, i, p);
  }
}
