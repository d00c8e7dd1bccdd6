// mul_mat_vec_f32: y[t,h,r] = sum_k w[h,r,k] * x[t,h,k] (+ add[t,r]) for few tokens, w of T = float, half or nv_bfloat16
// w (n_head, n_out, n_in); x (n_tok, n_head, n_in) f32 with x_stride elements between tokens and x_head_stride between heads;
// y (n_tok, n_head, n_out) f32 without gaps; one matrix is one head, and that alone may have add; the rest, block and bound:
// mul_mat_vec_float.cuh
// grid = (n_out / (2 * groups), rounded up; n_head)
#include "mul_mat_vec_float.cuh"

template <class T, int N_TOK, int VEC>
__global__ void __launch_bounds__(128, N_TOK == 8 ? 2 : 4)
mul_mat_vec_f32(const T* __restrict__ w, const float* __restrict__ x, const float* __restrict__ add,
                float* __restrict__ y, int n_tok, int n_out, int n_in, int x_stride, int x_head_stride, int k_split,
                int add_stride) {
  const int h = blockIdx.y;
  mul_mat_vec<T, N_TOK, VEC>(w + (size_t)h * n_out * n_in, x + (size_t)h * x_head_stride, add, y + (size_t)h * n_out,
                             blockIdx.x, n_tok, n_out, n_in, k_split, x_stride, gridDim.y * n_out, add_stride);
}
