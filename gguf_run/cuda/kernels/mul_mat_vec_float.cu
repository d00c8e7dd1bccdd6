// mul_mat_vec_f32: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for few tokens, w of T = float, half or nv_bfloat16
// operands, block and bound: mul_mat_vec_float.cuh; y (n_tok, n_out) without gaps
// grid = n_out / (2 * groups), rounded up
#include "mul_mat_vec_float.cuh"

template <class T, int N_TOK, int VEC>
__global__ void __launch_bounds__(128, N_TOK == 8 ? 2 : 4)
mul_mat_vec_f32(const T* __restrict__ w, const float* __restrict__ x, const float* __restrict__ add,
                float* __restrict__ y, int n_tok, int n_out, int n_in, int x_stride, int k_split, int add_stride) {
  mul_mat_vec<T, N_TOK, VEC>(w, x, add, y, blockIdx.x, n_tok, n_out, n_in, k_split, x_stride, n_out, add_stride);
}
