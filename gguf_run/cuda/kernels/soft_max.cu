// soft_max_f32: y[r,:] = exp(x[r,:] - max(x[r,:])) / sum of these
// x (n_rows, n_col) f32 with strides (rows.cuh); y (n_rows, n_col) f32 without gaps
// block = (32 * N_WARPS, rows), grid = ceil(n_rows / rows): N_WARPS warps a row; rows > 1 only for N_WARPS = 1
// latency-bound at few rows, memory-bound at many: reads x once from memory, twice from L1 or L2; writes y once
#include "ptx.cuh"
#include "rows.cuh"

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) soft_max_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides strides) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  y += (long long)row * n_col;
  float top = __uint_as_float(0xff800000u);  // -infinity
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) top = fmaxf(top, v.v[k]);
  }
  top = block_max<N_WARPS>(top);
  float sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum += expf(v.v[k] - top);
  }
  const float inverse = 1.0f / block_sum<N_WARPS>(sum);
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) v.v[k] = expf(v.v[k] - top) * inverse;
    store<WIDTH>(y, i, v);
  }
}
