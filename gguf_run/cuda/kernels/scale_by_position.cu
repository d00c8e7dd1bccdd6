// scale_by_position_f32: y[t,h,:] = x[t,h,:] * (1 + growth * ln(1 + floor((p + offset) / length))), p = positions[t]
//                                                                                                  (arXiv:2501.19399)
// x (n_tok, n_head, n_col) f32, its rows at two strides (rows.cuh); positions (n_tok) i32; y without gaps
// block and grid: elementwise.cuh, a row a head of a token
// memory-bound: reads and writes each element once
#include "rows.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) scale_by_position_f32(
    const float* __restrict__ x, const int* __restrict__ positions, float* __restrict__ y, int n_rows, int n_col,
    int n_head, Strides of_x, float growth, float offset, int length) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n_col / WIDTH) return;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < n_rows; row += gridDim.y * blockDim.y) {
    // In f64: a quotient that f32 rounds up to a whole number would be one step too far. It is not negative.
    const double quotient = ((double)positions[row / n_head] + (double)offset) / length;
    const float factor = 1.0f + growth * log1pf((float)(long long)quotient);
    Floats<WIDTH> v = load<WIDTH>(x + row_start(row, n_head, of_x), i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) v.v[k] *= factor;
    store<WIDTH>(y + (long long)row * n_col, i, v);
  }
}
