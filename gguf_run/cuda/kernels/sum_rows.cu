// sum_rows_f32: y[r] = sum of x[r,:]
// x (n_rows, n_col) f32 with strides (rows.cuh); y (n_rows) f32
// block = (32 * N_WARPS, rows), grid = ceil(n_rows / rows): N_WARPS warps a row; rows > 1 only for N_WARPS = 1
// latency-bound at few rows, memory-bound at many: reads x once
#include "ptx.cuh"
#include "rows.cuh"

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) sum_rows_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides strides) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  float sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum += v.v[k];
  }
  sum = block_sum<N_WARPS>(sum);
  if (threadIdx.x == 0) y[row] = sum;
}
