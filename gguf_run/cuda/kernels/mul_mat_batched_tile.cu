// mul_mat_batched_f32: y[t,h,r] = sum_k w[h,r,k] * x[t,h,k], w of T = float, half or nv_bfloat16, any shape
// w (n_head, n_out, n_in); x (n_tok, n_head, n_in) f32 with strides (rows.cuh); y (n_tok, n_head, n_out) f32 without gaps;
// the rest, block and bound: mul_mat_tile.cuh
// grid = (n_out / 64, n_tok / 128, both rounded up; n_head)
#include "mul_mat_tile.cuh"
#include "rows.cuh"

template <class T>
__global__ void __launch_bounds__(256, 2)
mul_mat_batched_f32(const T* __restrict__ w, const float* __restrict__ x, float* __restrict__ y, int n_tok, int n_out,
                    int n_in, Strides of_x) {
  const int h = blockIdx.z;
  mul_mat_tile<T>(w + (size_t)h * n_out * n_in, x + h * of_x.inner, nullptr, y + (size_t)h * n_out, n_tok, n_out, n_in, 0,
                  n_in, of_x.outer, gridDim.z * n_out, 0);
}
