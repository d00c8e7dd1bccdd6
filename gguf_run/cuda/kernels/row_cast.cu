// row_cast: rows in a form for products (cast_rows.cuh)
// x (n_row, n_col) f32 with strides (rows.cuh) that are multiples of four
// grid = n_row, block and shared memory: cast_rows.cuh
// memory-bound: reads x once, writes y once
#include "cast_rows.cuh"

template <Form FORM>
__global__ void __launch_bounds__(512, 4)
row_cast(const float* __restrict__ x, half* __restrict__ y, int n_col, int n_inner, Strides of_x) {
  pdl_trigger();
  pdl_wait();
  const float* const from = x + row_start(blockIdx.x, n_inner, of_x);
  cast_row<FORM>(y, nullptr, gridDim.x, n_col, blockIdx.x, 0.0f, [&](int c) { return *(const float4*)(from + c); },
                    [](float) { return 1.0f; });
}
