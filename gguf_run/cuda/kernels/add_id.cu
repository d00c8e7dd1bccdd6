// add_id_f32: y[r,:] = x[r,:] + rows[ids[r],:]
// x (n_rows, n_col) f32 with strides (rows.cuh); rows (n, n_col) f32, ids (n_rows) i32, y (n_rows, n_col), all without
// gaps
// WIDTH 4: n_col, all strides and addresses are multiples of four floats, else WIDTH 1
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "rows.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) add_id_f32(
    const float* __restrict__ x, const float* __restrict__ rows, const int* __restrict__ ids, float* __restrict__ y,
    int n_rows, int n_col, int n_inner, Strides of_x) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n_col / WIDTH) return;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < n_rows; row += gridDim.y * blockDim.y) {
    Floats<WIDTH> p = load<WIDTH>(x + row_start(row, n_inner, of_x), i);
    const Floats<WIDTH> q = load<WIDTH>(rows + (long long)ids[row] * n_col, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) p.v[k] += q.v[k];
    store<WIDTH>(y + (long long)row * n_col, i, p);
  }
}
