// mul_mat_f32: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]), w of T = float, half or nv_bfloat16, any shape
// operands, grid, block and bound: mul_mat_tile.cuh; y (n_tok, n_out) without gaps
#include "mul_mat_tile.cuh"

template <class T>
__global__ void __launch_bounds__(256)
mul_mat_f32(const T* __restrict__ w, const float* __restrict__ x, const float* __restrict__ add, float* __restrict__ y,
            int n_tok, int n_out, int n_in, int x_stride, int add_stride) {
  mul_mat_tile<T>(w, x, add, y, n_tok, n_out, n_in, x_stride, n_out, add_stride);
}
