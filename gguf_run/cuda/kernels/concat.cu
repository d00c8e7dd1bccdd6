// concat_f32: y[r,:] = a[r,:] followed by b[r,:]
// a (n_rows, n_a), b (n_rows, n_b) f32 with strides (rows.cuh; the inner one of a row for all heads is 0); y
// (n_rows, n_a + n_b) without gaps
// WIDTH 4: n_a, n_b, all strides and addresses are multiples of four floats, else WIDTH 1
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "rows.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) concat_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int n_rows, int n_a, int n_b,
    int n_inner, Strides of_a, Strides of_b) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x, split = n_a / WIDTH;
  if (i >= split + n_b / WIDTH) return;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < n_rows; row += gridDim.y * blockDim.y) {
    const Floats<WIDTH> v = i < split ? load<WIDTH>(a + row_start(row, n_inner, of_a), i)
                                      : load<WIDTH>(b + row_start(row, n_inner, of_b), i - split);
    store<WIDTH>(y + (long long)row * (n_a + n_b), i, v);
  }
}
