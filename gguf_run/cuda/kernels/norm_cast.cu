// rms_norm_mul_cast: y[r,:] = x[r,:] * rsqrt(mean(x[r,:]^2) + eps) * w in a form for products (cast_rows.cuh)
// x (n_row, n_col) f32 with strides (rows.cuh) that are multiples of four; w (n_col) f32; plain: y as f32, too, or null
// grid = n_row, block and shared memory: cast_rows.cuh
// memory-bound: reads x once, writes y once
#include "cast_rows.cuh"

template <Form FORM>
__global__ void __launch_bounds__(512, 4)
rms_norm_mul_cast(const float* __restrict__ x, const float* __restrict__ w, half* __restrict__ y, float* __restrict__ plain,
                  int n_col, int n_inner, Strides of_x, float eps) {
  pdl_trigger();
  pdl_wait();
  const float* const from = x + row_start(blockIdx.x, n_inner, of_x);
  float squares = 0;
  const auto number = [&](int c) {
    const float4 v = *(const float4*)(from + c), weight = *(const float4*)(w + c);
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    return make_float4(v.x * weight.x, v.y * weight.y, v.z * weight.z, v.w * weight.w);
  };
  cast_row<FORM>(y, plain, gridDim.x, n_col, blockIdx.x, squares, number,
                    [&](float sum) { return rsqrtf(sum / n_col + eps); });
}
